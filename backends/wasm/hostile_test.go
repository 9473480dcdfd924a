package wasm_test

import (
	"context"

	"github.com/pynomaly/pynomaly-runtime/backends/wasm/internal/asm"
)

type attack struct {
	name   string
	module []byte
	want   string // in the error
	or     error  // or what the error is
}

// body is one function of the ABI in a module made by hand.
type body struct {
	params, results []byte
	locals          []byte
	code            []any
}

func code(c ...any) []any { return c }

// Where the well-behaved module keeps things.
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

// wellBehaved is a module that follows the ABI, with a bump allocator.
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

var order = []string{"pynomaly_abi_v1", "pynomaly_alloc", "pynomaly_free", "pynomaly_describe", "pynomaly_init", "pynomaly_score", "pynomaly_last_error"}

// guest is the well-behaved module with changes.
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
	for _, name := range order {
		f, ok := functions[name]
		if !ok {
			continue
		}
		n := uint64(len(bodies))
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

var endless = code(0x03, 0x40, 0x0c, u(0), 0x0b, 0x00)

// hostile are modules that mean harm.
func hostile() []attack {
	late := context.DeadlineExceeded
	with := func(name string, c []any) []byte { return guest(func(f map[string]*body) { f[name].code = c }) }
	describing := func(text string) []byte {
		return guest(func(f map[string]*body) {
			f["pynomaly_describe"].code = code(i64c(int64(atDescription)<<32 | int64(len(text))))
		},
			func(m *asm.Module) {
				m.Data = asm.Vec(asm.Cat(u(0), i32c(atDescription), []byte{0x0b}, asm.Text(text)))
			})
	}
	call := func(n uint64) []any { return code(0x20, u(0), 0x20, u(1), 0x20, u(2), 0x20, u(3), 0x10, u(n)) }
	return []attack{
		{"endless score", with("pynomaly_score", endless), "", late},
		{"endless describe", with("pynomaly_describe", endless), "", late},
		{"endless init", with("pynomaly_init", endless), "", late},
		{"endless alloc", with("pynomaly_alloc", endless), "", late},
		{"endless free", with("pynomaly_free", append(endless[:5:5], 0x0b)[:5]), "", late},
		{"endless marker", with("pynomaly_abi_v1", endless), "", late},
		{"endless start", guest(func(f map[string]*body) { f["pynomaly_abi_v1"].code = endless }, func(m *asm.Module) { m.Start = u(0) }), "", late},
		{"recursion", with("pynomaly_score", call(5)), "recurses too deep", late},
		{"memory.grow storm", with("pynomaly_score", code(0x03, 0x40, i32c(1), 0x40, 0, 0x1a, 0x0c, u(0), 0x0b, 0x00)), "", late},
		{"fill storm", with("pynomaly_score", code(0x03, 0x40, i32c(0), i32c(1), i32c(131072), 0xfc, u(11), 0, 0x0c, u(0), 0x0b, 0x00)), "", late},
		{"trap", with("pynomaly_score", code(0x00)), "trapped: wasm error: unreachable", nil},
		{"division by zero", with("pynomaly_score", code(i32c(1), i32c(0), 0x6d)), "divide by zero", nil},
		{"out of bounds", with("pynomaly_score", code(i32c(-8), 0x28, u(2), u(0))), "out of bounds memory access", nil},
		{"status 7", with("pynomaly_score", code(i32c(7))), "answers with status 7", nil},
		{"silent failure", with("pynomaly_score", code(i32c(1))), "it does not say why", nil},
		{"last error far away", guest(func(f map[string]*body) {
			f["pynomaly_score"].code, f["pynomaly_last_error"].code = code(i32c(1)), code(i64c(-1<<32|100))
		}), "outside its memory", nil},
		{"last error of 1 GiB", guest(func(f map[string]*body) {
			f["pynomaly_score"].code, f["pynomaly_last_error"].code = code(i32c(1)), code(i64c(1<<32|1<<30))
		}), "at most 65536 are taken", nil},
		{"alloc answers 0", with("pynomaly_alloc", code(i32c(0))), "no memory left", nil},
		{"alloc unaligned", with("pynomaly_alloc", code(i32c(atHeap+8))), "not a multiple of 16", nil},
		{"alloc outside", with("pynomaly_alloc", code(i32c(-16))), "outside its memory", nil},
		{"alloc overlaps", with("pynomaly_alloc", code(i32c(atHeap))), "overlaps", nil},
		{"describe far away", with("pynomaly_describe", code(i64c(-1<<32|100))), "outside its memory", nil},
		{"describe of 1 GiB", with("pynomaly_describe", code(i64c(1<<32|1<<30))), "at most 1048576 are taken", nil},
		{"describe nothing", with("pynomaly_describe", code(i64c(0))), "answers nothing", nil},
		{"describe bad JSON", describing(`{"name":`), "bad JSON", nil},
		{"describe two", describing(`{"dtype":"float64"} {}`), "more than one JSON value", nil},
		{"describe another dtype", describing(`{"dtype":"float16"}`), `its dtype is "float16"`, nil},
		{"describe orientation", describing(`{"dtype":"float64","orientation":"up"}`), "its orientation", nil},
		{"no score", guest(func(f map[string]*body) { delete(f, "pynomaly_score") }), "does not export pynomaly_score (i32, i32, i32, i32) -> (i32)", nil},
		{"score of another type", guest(func(f map[string]*body) {
			*f["pynomaly_score"] = body{params: word, results: word, code: code(i32c(0))}
		}), "its export pynomaly_score is (i32) -> (i32)", nil},
		{"unknown import", guest(func(map[string]*body) {}, func(m *asm.Module) {
			m.Imports = asm.Vec(asm.Cat(asm.Text("env"), asm.Text("system"), []byte{0, 0}))
			m.Exports = asm.Vec(asm.Export("memory", 2, 0))
		}), "it imports env.system", nil},
		{"import of another type", guest(func(map[string]*body) {}, func(m *asm.Module) {
			m.Imports = asm.Vec(asm.Cat(asm.Text("wasi_snapshot_preview1"), asm.Text("fd_write"), []byte{0, 0}))
			m.Exports = asm.Vec(asm.Export("memory", 2, 0))
		}), "its import wasi_snapshot_preview1.fd_write is", nil},
		{"invalid body", with("pynomaly_score", code(0x1a)), "not valid", nil},
		{"too many functions", guest(func(map[string]*body) {}, func(m *asm.Module) { m.Functions = append(u(10_000_000), make([]byte, 10_000_000)...) }), "at most 100000 are taken", nil},
	}
}
