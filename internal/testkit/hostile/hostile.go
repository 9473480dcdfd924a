// Package hostile holds hostile WASM plugins, written instruction by instruction,
// which a host must survive.
package hostile

import (
	"encoding/binary"
	"unicode/utf16"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/asm"
)

// Attack is a module and how its call must end.
type Attack struct {
	Name   string
	Module []byte
	Want   string // in the error
	OrLate bool   // or the deadline may end it
	Slow   bool   // compiling it takes as long as allowed
	Scores bool   // it harms only itself: the row fails because its score is not finite
}

// body is one function of the ABI in an assembled module.
type body struct {
	params, results []byte
	locals          []byte
	code            []any
}

func code(c ...any) []any { return c }

// Addresses in the well-behaved module's memory.
const (
	atDescription = 1024
	atHeap        = 65536
)

const description = `{"name":"a","dtype":"float64","features":["x","y"]}`

var (
	u, i32c, i64c = asm.U, asm.I32Const, asm.I64Const
	i32x4         = []byte{asm.I32, asm.I32, asm.I32, asm.I32}
	word          = []byte{asm.I32}
	long          = []byte{asm.I64}
)

// wellBehaved returns the functions of a module that follows the ABI. It has a bump
// allocator.
func wellBehaved() map[string]*body {
	packed := int64(atDescription)<<32 | int64(len(description))
	return map[string]*body{
		"pynomaly_abi_v1": {code: nil},
		"pynomaly_alloc": {params: word, results: word, code: code( // next = (next + 15) &^ 15; next += size; grow if needed
			0x23, u(0), i32c(15), 0x6a, i32c(-16), 0x71, 0x24, u(0),
			0x23, u(0), 0x23, u(0), 0x20, u(0), 0x6a, 0x24, u(0))},
		"pynomaly_free":       {params: []byte{asm.I32, asm.I32}},
		"pynomaly_describe":   {results: long, code: code(i64c(packed))},
		"pynomaly_init":       {params: []byte{asm.I32, asm.I32}, results: word, code: code(i32c(0))},
		"pynomaly_score":      {params: i32x4, results: word, code: code(0x20, u(3), asm.F64Const(1), 0x39, u(3), u(0), i32c(0))},
		"pynomaly_last_error": {results: long, code: code(i64c(0))},
	}
}

var order = []string{
	"pynomaly_abi_v1", "pynomaly_alloc", "pynomaly_free", "pynomaly_describe", "pynomaly_init", "pynomaly_score", "pynomaly_last_error", extra,
}

// imports names an import instead of a function. Its locals are the encoded import.
const imports = "imports"

// extra names a function beyond the ABI, the last one.
const extra = "extra"

// Plain returns the module that follows the ABI. All its scores are 1.
func Plain() []byte { return guest(func(map[string]*body) {}) }

// guest returns the well-behaved module with changes.
func guest(change func(map[string]*body), more ...func(*asm.Module)) []byte {
	functions := wellBehaved()
	change(functions)
	m := asm.Module{
		Memory:  asm.Vec(asm.Cat([]byte{0}, u(2))),
		Globals: asm.Vec(asm.Ops(asm.I32, 1, i32c(atHeap), 0x0b)),
		Data:    asm.Vec(asm.Cat(u(0), i32c(atDescription), []byte{0x0b}, asm.Text(description))),
	}
	exports := [][]byte{asm.Export("memory", 2, 0)}
	var types, kinds, bodies [][]byte
	imported := uint64(0)
	if f, ok := functions[imports]; ok {
		m.Imports, imported = asm.Vec(f.locals), 1
		types = append(types, asm.Sig(f.params, f.results))
	}
	for _, name := range order {
		f, ok := functions[name]
		if !ok {
			continue
		}
		n := imported + uint64(len(bodies))
		types, kinds = append(types, asm.Sig(f.params, f.results)), append(kinds, u(n))
		bodies = append(bodies, asm.Func(f.locals, f.code...))
		exports = append(exports, asm.Export(name, 0, n))
	}
	m.Types, m.Functions, m.Code, m.Exports = asm.Vec(types...), asm.Vec(kinds...), asm.Vec(bodies...), asm.Vec(exports...)
	for _, f := range more {
		f(&m)
	}
	return m.Bytes()
}

// endless is a loop without an end.
var endless = code(0x03, 0x40, 0x0c, u(0), 0x0b, 0x00)

// Attacks returns all hostile modules.
func Attacks() []Attack {
	var all []Attack
	for _, group := range [][]Attack{endlessOnes(), broken(), liars(), wrongForm(), costly(), large(), malformed()} {
		all = append(all, group...)
	}
	return all
}

// with returns a module with another body for one function.
func with(name string, c []any) []byte {
	return guest(func(f map[string]*body) { f[name].code = c })
}

// describing returns a module with the given description.
func describing(text string) []byte {
	return guest(func(f map[string]*body) {
		f["pynomaly_describe"].code = code(i64c(int64(atDescription)<<32 | int64(len(text))))
	}, func(m *asm.Module) {
		m.Data = asm.Vec(asm.Cat(u(0), i32c(atDescription), []byte{0x0b}, asm.Text(text)))
	})
}

// endlessOnes returns modules that never return by themselves.
func endlessOnes() []Attack {
	again := func(c ...any) []any { // repeats c
		return append(append([]any{0x03, 0x40}, c...), 0x0c, u(0), 0x0b, 0x00)
	}
	self := code(0x20, u(0), 0x20, u(1), 0x20, u(2), 0x20, u(3), 0x10, u(5))
	fib := &body{params: word, results: word, code: code(
		0x20, u(0), i32c(2), 0x48, 0x04, 0x7f, 0x20, u(0), 0x05,
		0x20, u(0), i32c(1), 0x6b, 0x10, u(7), 0x20, u(0), i32c(2), 0x6b, 0x10, u(7), 0x6a, 0x0b)}
	return []Attack{
		{Name: "endless score", Module: with("pynomaly_score", endless), OrLate: true},
		{Name: "endless describe", Module: with("pynomaly_describe", endless), OrLate: true},
		{Name: "endless init", Module: with("pynomaly_init", endless), OrLate: true},
		{Name: "endless alloc", Module: with("pynomaly_alloc", endless), OrLate: true},
		{Name: "endless free", Module: with("pynomaly_free", endless[:5:5]), OrLate: true},
		{Name: "endless marker", Module: with("pynomaly_abi_v1", endless), OrLate: true},
		{Name: "endless last_error", Module: guest(func(f map[string]*body) {
			f["pynomaly_score"].code, f["pynomaly_last_error"].code = code(i32c(1)), endless
		}), OrLate: true},
		{Name: "endless start", Module: guest(func(f map[string]*body) { f["pynomaly_abi_v1"].code = endless }, func(m *asm.Module) { m.Start = u(0) }), OrLate: true},
		{Name: "unbounded recursion", Module: with("pynomaly_score", self), Want: "recurses too deep", OrLate: true},
		{Name: "exponential recursion", Module: guest(func(f map[string]*body) {
			f[extra], f["pynomaly_score"].code = fib, code(i32c(90), 0x10, u(7))
		}), OrLate: true},
		{Name: "memory.grow storm", Module: with("pynomaly_score", again(i32c(1), 0x40, 0, 0x1a)), OrLate: true},
		{Name: "table.grow storm", Module: guest(func(f map[string]*body) {
			f["pynomaly_score"].code = again(0xd0, 0x70, i32c(1000), 0xfc, u(15), u(0), 0x1a)
		}, func(m *asm.Module) { m.Tables = asm.Vec([]byte{0x70, 0, 1}) }), OrLate: true},
		{Name: "memory.fill storm", Module: with("pynomaly_score", again(i32c(0), i32c(1), i32c(131072), 0xfc, u(11), 0)), OrLate: true},
		{Name: "memory.copy storm", Module: with("pynomaly_score", again(i32c(0), i32c(65536), i32c(65536), 0xfc, u(10), 0, 0)), OrLate: true},
		{Name: "stderr storm", Module: printing(again(i32c(2), i32c(atText), i32c(1), i32c(atText+8), 0x10, u(0), 0x1a)), OrLate: true},
		{Name: "clock storm", Module: importing("clock_time_get", []byte{asm.I32, asm.I64, asm.I32}, again(i32c(0), i64c(0), i32c(atText), 0x10, u(0), 0x1a)), OrLate: true},
	}
}

// atText is the address of what printing prints: a pointer, a length, a result.
const atText = 4096

// importing returns a module that imports a function of WASI as function 0.
func importing(name string, params []byte, score []any) []byte {
	return guest(func(f map[string]*body) {
		f[imports] = &body{params: params, results: word, locals: asm.Cat(asm.Text("wasi_snapshot_preview1"), asm.Text(name), []byte{0}, u(0))}
		f["pynomaly_score"].code = score
	})
}

// printing returns a module with a line of text to print.
func printing(score []any) []byte {
	f := importing("fd_write", i32x4, append(code(i32c(atText), i32c(atDescription), 0x36, u(2), u(0), i32c(atText+4), i32c(50), 0x36, u(2), u(0)), score...))
	return f
}

// Panicking returns a module whose score prints 50 bytes of its description to its
// standard error, and traps.
func Panicking() []byte {
	return printing(code(i32c(2), i32c(atText), i32c(1), i32c(atText+8), 0x10, u(0), 0x1a, 0x00))
}

// Aborting returns a module whose score calls env.abort as AssemblyScript does, with a
// text in UTF-16 whose size stands before it.
func Aborting(text string) []byte {
	units := utf16.Encode([]rune(text))
	data := binary.LittleEndian.AppendUint32(nil, uint32(2*len(units)))
	for _, v := range units {
		data = binary.LittleEndian.AppendUint16(data, v)
	}
	const at = atText + 4
	return guest(func(f map[string]*body) {
		f[imports] = &body{params: i32x4, locals: asm.Cat(asm.Text("env"), asm.Text("abort"), []byte{0}, u(0))}
		f["pynomaly_score"].code = code(i32c(at), i32c(at), i32c(7), i32c(3), 0x10, u(0), i32c(0))
	}, func(m *asm.Module) {
		m.Data = asm.Vec(asm.Cat(u(0), i32c(atDescription), []byte{0x0b}, asm.Text(description)), asm.Cat(u(0), i32c(atText), []byte{0x0b}, asm.Text(string(data))))
	})
}

// broken returns modules that trap.
func broken() []Attack {
	return []Attack{
		{Name: "trap", Module: with("pynomaly_score", code(0x00)), Want: "trapped: wasm error: unreachable"},
		{Name: "division by zero", Module: with("pynomaly_score", code(i32c(1), i32c(0), 0x6d)), Want: "divide by zero"},
		{Name: "out of bounds", Module: with("pynomaly_score", code(i32c(-8), 0x28, u(2), u(0))), Want: "out of bounds memory access"},
		{Name: "call through nothing", Module: guest(func(f map[string]*body) {
			f["pynomaly_score"].code = code(0x20, u(0), 0x20, u(1), 0x20, u(2), 0x20, u(3), i32c(0), 0x11, u(5), u(0))
		}, func(m *asm.Module) { m.Tables = asm.Vec([]byte{0x70, 0, 1}) }), Want: "trapped"},
		{Name: "exit", Module: guest(func(f map[string]*body) {
			f[imports] = &body{params: word, locals: asm.Cat(asm.Text("wasi_snapshot_preview1"), asm.Text("proc_exit"), []byte{0}, u(0))}
			f["pynomaly_score"].code = code(i32c(3), 0x10, u(0), i32c(0))
		}), Want: "exited with code 3"},
		{Name: "status 7", Module: with("pynomaly_score", code(i32c(7))), Want: "returns the status 7"},
		{Name: "silent failure", Module: with("pynomaly_score", code(i32c(1))), Want: "it gives no reason"},
		{Name: "init fails", Module: with("pynomaly_init", code(i32c(1))), Want: "initialising the module: it gives no reason"},
		{Name: "writes over the host's buffers", Module: with("pynomaly_score", code(i32c(0), i32c(255), i32c(131072), 0xfc, u(11), 0, i32c(0))), Scores: true},
	}
}

// liars returns modules that return wrong pointers and lengths.
func liars() []Attack {
	failing := func(packed int64) []byte {
		return guest(func(f map[string]*body) {
			f["pynomaly_score"].code, f["pynomaly_last_error"].code = code(i32c(1)), code(i64c(packed))
		})
	}
	return []Attack{
		{Name: "last_error far away", Module: failing(-1<<32 | 100), Want: "outside its memory"},
		{Name: "last_error of 1 GiB", Module: failing(1<<32 | 1<<30), Want: "at most 65536 are allowed"},
		{Name: "last_error around 2^32", Module: failing(-16<<32 | 32), Want: "outside its memory"},
		{Name: "alloc answers 0", Module: with("pynomaly_alloc", code(i32c(0))), Want: "no memory left"},
		{Name: "alloc unaligned", Module: with("pynomaly_alloc", code(i32c(atHeap+8))), Want: "not a multiple of 16"},
		{Name: "alloc outside", Module: with("pynomaly_alloc", code(i32c(-16))), Want: "outside its memory"},
		{Name: "alloc overlaps", Module: with("pynomaly_alloc", code(i32c(atHeap))), Want: "overlaps"},
		{Name: "describe far away", Module: with("pynomaly_describe", code(i64c(-1<<32|100))), Want: "outside its memory"},
		{Name: "describe around 2^32", Module: with("pynomaly_describe", code(i64c(-16<<32|32))), Want: "outside its memory"},
		{Name: "describe of 1 GiB", Module: with("pynomaly_describe", code(i64c(1<<32|1<<30))), Want: "at most 1048576 are allowed"},
		{Name: "describe nothing", Module: with("pynomaly_describe", code(i64c(0))), Want: "returns nothing"},
		{Name: "describe bad JSON", Module: describing(`{"name":`), Want: "bad JSON"},
		{Name: "describe two", Module: describing(`{"dtype":"float64"} {}`), Want: "more than one JSON value"},
		{Name: "describe another dtype", Module: describing(`{"dtype":"float16"}`), Want: `its dtype is "float16"`},
		{Name: "describe orientation", Module: describing(`{"dtype":"float64","orientation":"up"}`), Want: "its orientation"},
	}
}

// wrongForm returns modules that violate the ABI's types.
func wrongForm() []Attack {
	foreign := func(module, name string) []byte {
		return guest(func(map[string]*body) {}, func(m *asm.Module) {
			m.Imports = asm.Vec(asm.Cat(asm.Text(module), asm.Text(name), []byte{0, 0}))
			m.Exports = asm.Vec(asm.Export("memory", 2, 0))
		})
	}
	return []Attack{
		{Name: "no score", Module: guest(func(f map[string]*body) { delete(f, "pynomaly_score") }), Want: "does not export pynomaly_score (i32, i32, i32, i32) -> (i32)"},
		{Name: "score of another type", Module: guest(func(f map[string]*body) {
			*f["pynomaly_score"] = body{params: word, results: word, code: code(i32c(0))}
		}), Want: "its export pynomaly_score is (i32) -> (i32)"},
		{Name: "unknown import", Module: foreign("env", "system"), Want: "it imports env.system"},
		{Name: "import of another type", Module: foreign("wasi_snapshot_preview1", "fd_write"), Want: "its import wasi_snapshot_preview1.fd_write is"},
		{Name: "invalid body", Module: with("pynomaly_score", code(0x1a)), Want: "not valid"},
		{Name: "no module", Module: []byte("nonsense"), Want: "does not begin"},
	}
}
