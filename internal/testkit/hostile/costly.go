package hostile

import (
	"bytes"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/asm"
)

// plainWith returns a module that follows the ABI, with changed sections.
func plainWith(change func(*asm.Module)) []byte { return guest(func(map[string]*body) {}, change) }

// many encodes a vector of n equal items.
func many(n int, item []byte) []byte { return asm.Cat(u(uint64(n)), bytes.Repeat(item, n)) }

// justFunctions makes a module of n equal functions without the ABI.
func justFunctions(n int, function []byte, types ...[]byte) func(*asm.Module) {
	return func(m *asm.Module) {
		m.Types = asm.Vec(append([][]byte{asm.Sig(nil, nil)}, types...)...)
		m.Functions, m.Code, m.Exports = many(n, u(0)), many(n, function), asm.Vec(asm.Export("memory", 2, 0))
	}
}

// costly returns modules that are expensive to compile.
func costly() []Attack {
	const (
		functions = 40
		locals    = 500
		loops     = 7900
	)
	var c []any
	for range loops {
		c = append(c, 0x03, 0x40)
	}
	for i := range loops {
		c = append(c, 0x20, u(uint64(i%locals)), 0x21, u(uint64((i*7+1)%locals)), 0x0b)
	}
	bomb := plainWith(justFunctions(functions, asm.Func(asm.Vec(asm.Cat(u(locals), []byte{asm.I64})), c...)))
	return []Attack{
		{Name: "ten million functions", Module: plainWith(func(m *asm.Module) { m.Functions = append(u(10_000_000), make([]byte, 10_000_000)...) }), Want: "at most 100000 are allowed"},
		{Name: "a name of 1 GiB", Module: append(asm.Module{}.Bytes(), asm.Cat([]byte{0}, u(6), u(1<<30), []byte("a"))...), Want: "are announced"},
		{Name: "locals x blocks", Module: guest(func(f map[string]*body) {
			f["pynomaly_score"].locals = asm.Vec(asm.Cat(u(9000), []byte{asm.I64}))
			var deep []any
			for range 1000 {
				deep = append(deep, 0x02, 0x40, 0x0b)
			}
			deep = append(deep, i32c(0))
			f["pynomaly_score"].code = deep
		}), Want: "locals"},
		{Name: "compile bomb", Module: bomb, Want: "compiling the module: it takes", Slow: true},
	}
}

// large returns modules with so many parts of a kind that the engine would need more
// memory or time than the size of the module suggests.
func large() []Attack {
	wide := bytes.Repeat([]byte{asm.I64}, 1000)
	passive := func(n int) []byte { return asm.Cat(u(1), []byte{0}, many(n, u(0))) }
	endlessScore := func(change func(*asm.Module)) []byte {
		return guest(func(f map[string]*body) { f["pynomaly_score"].code = endless }, change)
	}
	return []Attack{
		{Name: "24 million passive elements", Module: plainWith(func(m *asm.Module) { m.Elements = asm.Vec(passive(24_000_000)) }), Want: "at most 200000 are allowed"},
		{Name: "passive elements in many segments", Module: plainWith(func(m *asm.Module) { m.Elements = many(10_000, passive(100)) }), Want: "elements beyond those of earlier segments"},
		{Name: "elements that are expressions", Module: plainWith(func(m *asm.Module) {
			m.Elements = asm.Vec(asm.Cat(u(5), []byte{0x70}, many(8_000_000, []byte{0xd2, 0, 0x0b})))
		}), Want: "at most 200000 are allowed"},
		{Name: "as many elements as are allowed", Module: endlessScore(func(m *asm.Module) { m.Elements = asm.Vec(passive(200_000)) }), OrLate: true},
		{Name: "as many segments of data as are allowed", Module: endlessScore(func(m *asm.Module) {
			one := asm.Cat(u(0), i32c(atDescription-1), []byte{0x0b}, asm.Text("x"))
			text := asm.Cat(u(0), i32c(atDescription), []byte{0x0b}, asm.Text(description))
			m.Data = asm.Cat(u(100_000), bytes.Repeat(one, 99_999), text)
		}), OrLate: true},
		{Name: "a type of 100,000 parameters", Module: plainWith(func(m *asm.Module) {
			m.Types = asm.Vec(asm.Sig(bytes.Repeat([]byte{asm.I64}, 100_000), nil))
		}), Want: "100000 values of a type; at most 1000"},
		{Name: "many types of 1,000 parameters", Module: plainWith(func(m *asm.Module) { m.Types = many(5000, asm.Sig(wide, nil)) }), Want: "more than 100000 parameters and results"},
		{Name: "calls of 1,000 parameters", Module: plainWith(justFunctions(100, asm.Func(nil, slices.Repeat([]any{i32c(0), 0x11, u(1), u(0), i32c(0), 0x11, u(2), u(0)}, 900)...),
			asm.Sig(nil, wide), asm.Sig(wide, nil))), Want: "pass more than 10000000 values"},
		{Name: "10,000 locals of many functions", Module: plainWith(justFunctions(50_000, asm.Func(asm.Vec(asm.Cat(u(9990), []byte{asm.I64}))))), Want: "more than 4000000 locals"},
		{Name: "blocks in blocks", Module: plainWith(justFunctions(1, asm.Func(nil, bytes.Repeat([]byte{0x02, 0x40}, 200_000), bytes.Repeat([]byte{0x0b}, 200_000)))), Want: "nested more than 50000 deep"},
		{Name: "loops that grow when they are metered", Module: plainWith(justFunctions(30, asm.Func(nil, bytes.Repeat([]byte{0x03, 0x40, 0x0b}, 300_000)))), Want: "its code, metered, has more than"},
		{Name: "a million exports", Module: plainWith(func(m *asm.Module) { m.Exports = many(1_000_000, asm.Export("", 2, 0)) }), Want: "at most 10000 are allowed"},
		{Name: "names of 60 MB", Module: plainWith(func(m *asm.Module) { m.Exports = asm.Vec(asm.Export(string(make([]byte, 60_000_000)), 2, 0)) }), Want: "names of more than"},
		{Name: "a constant of a million instructions", Module: plainWith(func(m *asm.Module) {
			m.Globals = asm.Vec(asm.Cat([]byte{asm.I32, 0}, bytes.Repeat(i32c(0), 1_000_000), []byte{0x0b}))
		}), Want: "more than one instruction"},
		{Name: "a memory of 4 GiB", Module: plainWith(func(m *asm.Module) { m.Memory = asm.Vec(asm.Cat([]byte{0}, u(65536))) }), Want: "memory"},
		{Name: "many large tables", Module: plainWith(func(m *asm.Module) { m.Tables = many(1000, asm.Cat([]byte{0x70, 0}, u(65536))) }), Want: "at most 16 are allowed"},
	}
}

// malformed returns modules that different readers understand differently.
func malformed() []Attack {
	plain := Plain()
	return []Attack{
		{Name: "a section twice", Module: append(slices.Clone(plain), 11, 1, 0), Want: "out of order"},
		{Name: "an unknown section", Module: append(slices.Clone(plain), 13, 1, 0), Want: "not known or out of order"},
		{Name: "bytes after the module", Module: append(slices.Clone(plain), 0), Want: "cut short"},
		{Name: "bytes after a section", Module: plainWith(func(m *asm.Module) { m.Memory = append(m.Memory, 0) }), Want: "left over at the end of the memories"},
		{Name: "an over-long number", Module: plainWith(func(m *asm.Module) { m.Memory = asm.Cat([]byte{0x81, 0x80, 0x80, 0x80, 0x80, 0}, []byte{0, 2}) }), Want: "longer than 5 bytes"},
		{Name: "a number with bits to spare", Module: with("pynomaly_init", code(0x41, []byte{0x80, 0x80, 0x80, 0x80, 0x10})), Want: "does not fit in 32 bits"},
		{Name: "a vector instruction in two readings", Module: with("pynomaly_init", code(0xfd, 0x80, 0x41, 0x07, 0x1a, i32c(0))), Want: "shortest form"},
		{Name: "a reserved export", Module: plainWith(func(m *asm.Module) { m.Exports = asm.Vec(asm.Export("\x00reset", 0, 0)) }), Want: "twice or reserved"},
		{Name: "two exports of a name", Module: plainWith(func(m *asm.Module) { m.Exports = asm.Vec(asm.Export("memory", 2, 0), asm.Export("memory", 2, 0)) }), Want: "used twice"},
	}
}
