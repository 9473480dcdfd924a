// Package asm assembles small WebAssembly modules for tests. It checks nothing,
// because tests also need invalid modules.
package asm

import "math"

// Module holds the contents of a module's sections.
type Module struct {
	Types, Imports, Functions, Tables, Memory, Globals, Exports, Start, Elements, Count, Code, Data []byte
	Custom                                                                                          [][]byte
}

// U encodes an unsigned LEB128 number.
func U(v uint64) []byte {
	var out []byte
	for v >= 0x80 {
		out = append(out, byte(v)|0x80)
		v >>= 7
	}
	return append(out, byte(v))
}

// S encodes a signed LEB128 number.
func S(v int64) []byte {
	var out []byte
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if (v == 0 && b&0x40 == 0) || (v == -1 && b&0x40 != 0) {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

// Cat concatenates parts.
func Cat(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// Vec encodes a vector of encoded items.
func Vec(items ...[]byte) []byte { return append(U(uint64(len(items))), Cat(items...)...) }

// Text encodes a name.
func Text(s string) []byte { return append(U(uint64(len(s))), s...) }

// Ops concatenates opcodes (int) and encoded parts ([]byte).
func Ops(parts ...any) []byte {
	var out []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			out = append(out, byte(p))
		case []byte:
			out = append(out, p...)
		}
	}
	return out
}

// Func encodes a function body with groups of locals.
func Func(locals []byte, code ...any) []byte {
	if locals == nil {
		locals = Vec()
	}
	body := Cat(locals, Ops(code...))
	body = append(body, 0x0b)
	return append(U(uint64(len(body))), body...)
}

// Value types.
const (
	I32  = 0x7f
	I64  = 0x7e
	F32  = 0x7d
	F64  = 0x7c
	V128 = 0x7b
)

// Sig encodes a function type.
func Sig(params, results []byte) []byte {
	return Cat([]byte{0x60}, U(uint64(len(params))), params, U(uint64(len(results))), results)
}

// Export encodes an export. Kind 0 is a function, 2 a memory, 3 a global.
func Export(name string, kind byte, index uint64) []byte {
	return Cat(Text(name), []byte{kind}, U(index))
}

// I32Const encodes i32.const.
func I32Const(v int64) []byte { return append([]byte{0x41}, S(v)...) }

// I64Const encodes i64.const.
func I64Const(v int64) []byte { return append([]byte{0x42}, S(v)...) }

// F64Const encodes f64.const.
func F64Const(v float64) []byte {
	bits := math.Float64bits(v)
	out := []byte{0x44}
	for range 8 {
		out = append(out, byte(bits))
		bits >>= 8
	}
	return out
}

// Bytes encodes the module.
func (b Module) Bytes() []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	for _, s := range []struct {
		id   byte
		body []byte
	}{{1, b.Types}, {2, b.Imports}, {3, b.Functions}, {4, b.Tables}, {5, b.Memory}, {6, b.Globals}, {7, b.Exports}, {8, b.Start}, {9, b.Elements}, {12, b.Count}, {10, b.Code}, {11, b.Data}} {
		if s.body != nil {
			out = append(append(append(out, s.id), U(uint64(len(s.body)))...), s.body...)
		}
	}
	for _, c := range b.Custom {
		out = append(append(append(out, 0), U(uint64(len(c)))...), c...)
	}
	return out
}

// One returns a module with one exported function, "run", and one page of memory.
func One(params, results []byte, locals []byte, code ...any) Module {
	return Module{
		Types: Vec(Sig(params, results)), Functions: Vec(U(0)), Memory: Vec([]byte{0, 1}),
		Exports: Vec(Export("run", 0, 0), Export("memory", 2, 0)), Code: Vec(Func(locals, code...)),
	}
}
