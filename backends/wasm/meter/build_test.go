package meter_test

import "math"

// A module written by hand, for tests: its sections as bytes.
type built struct {
	types, imports, functions, tables, memory, globals, exports, start, elements, count, code, data []byte
	custom                                                                                          [][]byte
}

func leb(v uint64) []byte {
	var out []byte
	for v >= 0x80 {
		out = append(out, byte(v)|0x80)
		v >>= 7
	}
	return append(out, byte(v))
}

func sleb(v int64) []byte {
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

func cat(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// vec is a vector of items that are written already.
func vec(items ...[]byte) []byte { return append(leb(uint64(len(items))), cat(items...)...) }

func text(s string) []byte { return append(leb(uint64(len(s))), s...) }

// ops makes bytes of opcodes (int) and of what is written already ([]byte).
func ops(parts ...any) []byte {
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

// fn is a body with groups of locals.
func fn(locals []byte, code ...any) []byte {
	if locals == nil {
		locals = vec()
	}
	body := append(locals, ops(code...)...)
	body = append(body, 0x0b)
	return append(leb(uint64(len(body))), body...)
}

const (
	i32 = 0x7f
	i64 = 0x7e
	f64 = 0x7c
)

func sig(params, results []byte) []byte {
	return cat([]byte{0x60}, leb(uint64(len(params))), params, leb(uint64(len(results))), results)
}

func export(name string, kind byte, index uint64) []byte {
	return cat(text(name), []byte{kind}, leb(index))
}

func ci32(v int64) []byte { return append([]byte{0x41}, sleb(v)...) }
func ci64(v int64) []byte { return append([]byte{0x42}, sleb(v)...) }

func cf64(v float64) []byte {
	bits := math.Float64bits(v)
	out := []byte{0x44}
	for range 8 {
		out = append(out, byte(bits))
		bits >>= 8
	}
	return out
}

func (b built) bytes() []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	for _, s := range []struct {
		id   byte
		body []byte
	}{{1, b.types}, {2, b.imports}, {3, b.functions}, {4, b.tables}, {5, b.memory}, {6, b.globals}, {7, b.exports}, {8, b.start}, {9, b.elements}, {12, b.count}, {10, b.code}, {11, b.data}} {
		if s.body != nil {
			out = append(append(append(out, s.id), leb(uint64(len(s.body)))...), s.body...)
		}
	}
	for _, c := range b.custom {
		out = append(append(append(out, 0), leb(uint64(len(c)))...), c...)
	}
	return out
}

// one is a module with a single exported function "run" and one page of memory.
func one(params, results []byte, locals []byte, code ...any) built {
	return built{
		types: vec(sig(params, results)), functions: vec(leb(0)), memory: vec([]byte{0, 1}),
		exports: vec(export("run", 0, 0), export("memory", 2, 0)), code: vec(fn(locals, code...)),
	}
}
