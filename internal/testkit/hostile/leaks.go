package hostile

import (
	"slices"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/asm"
)

// Secret is a text of eight bytes, which are also the bytes of a number in a row.
const Secret = "SECRETS!"

// Leak is a module that keeps as much of a row as it can and passes it to the next
// caller, as the score or as the reason for refusing rows.
type Leak struct {
	Name   string
	Module []byte
	Fails  bool // a second call is refused with the row as the reason
	Asks   bool // its description asks to keep its memory
}

// atRow is the address where rows are left.
const atRow = 2048

// Leaks returns modules that pass rows on, in every place that outlives a call.
func Leaks() []Leak {
	const f64Load, f64Store, f64FromI32 = 0x2b, 0x39, 0xb8
	flat := func(parts ...[]any) []any { return append(slices.Concat(parts...), i32c(0)) }
	row := code(0x20, u(0), f64Load, u(3), u(0))
	store := code(f64Store, u(3), u(0))
	all := code(0x03, 0x40, 0x20, u(3), 0x20, u(4), f64Store, u(3), u(0), 0x20, u(3), i32c(8), 0x6a, 0x21, u(3), // the score of all rows
		0x20, u(1), i32c(1), 0x6b, 0x22, u(1), 0x0d, u(0), 0x0b)
	score := func(value ...any) []any { return append(append(slices.Clone(value), 0x21, u(4)), all...) }
	scoring := func(c []any) func(map[string]*body) {
		return func(f map[string]*body) {
			f["pynomaly_score"].locals, f["pynomaly_score"].code = asm.Vec([]byte{1, asm.F64}), c
		}
	}
	keep := append(append(code(i32c(atRow)), row...), store...)
	memory := flat(score(i32c(atRow), f64Load, u(3), u(0)), keep)
	refuses := flat(code(i32c(atRow), f64Load, u(3), u(0), asm.F64Const(0), 0x62, 0x04, 0x40, i32c(1), 0x0f, 0x0b), score(asm.F64Const(0)), keep)
	failing := func(f map[string]*body) {
		scoring(refuses)(f)
		f["pynomaly_last_error"].code = code(i64c(atRow<<32 | int64(len(Secret))))
	}
	says := func(text string) func(m *asm.Module) {
		return func(m *asm.Module) {
			m.Data = asm.Vec(asm.Cat(u(0), i32c(atDescription), []byte{0x0b}, asm.Text(text)))
		}
	}
	const asking = `{"name":"a","dtype":"float64","features":["x","y"],"reset":false}`
	asks := func(f map[string]*body) {
		f["pynomaly_describe"].code = code(i64c(int64(atDescription)<<32 | int64(len(asking))))
	}
	table := func(m *asm.Module) { m.Tables = asm.Vec([]byte{0x70, 0, 1}) }
	return []Leak{
		{Name: "in the memory", Module: guest(scoring(memory))},
		{Name: "in a global", Module: guest(scoring(flat(score(0x23, u(1)), row, code(0x24, u(1)))), func(m *asm.Module) {
			m.Globals = asm.Vec(asm.Ops(asm.I32, 1, i32c(atHeap), 0x0b), asm.Ops(asm.F64, 1, asm.F64Const(0), 0x0b))
		})},
		{Name: "in the size of the memory", Module: guest(scoring(flat(code(i32c(1), 0x40, 0, 0x1a), score(0x3f, 0, i32c(3), 0x6b, f64FromI32))))},
		{Name: "in grown memory", Module: guest(scoring(flat(code(i32c(1), 0x40, 0, 0x1a),
			score(i32c(2<<16), f64Load, u(3), u(0)), code(i32c(2<<16)), row, store)))},
		{Name: "in a table", Module: guest(scoring(flat(score(i32c(0), 0x25, u(0), 0xd1, 0x45, f64FromI32), code(i32c(0), 0xd2, u(0), 0x26, u(0)))), table)},
		{Name: "in a reason", Module: guest(failing), Fails: true},
		{Name: "in a reason, and asks for it", Module: guest(func(f map[string]*body) { failing(f); asks(f) }, says(asking)), Fails: true, Asks: true},
		{Name: "in the memory, and asks for it", Module: guest(func(f map[string]*body) { scoring(memory)(f); asks(f) }, says(asking)), Asks: true},
	}
}

// Answering returns a module whose score is the result of a function of WASI, called
// with zeros. types are the types of its parameters: i (i32) or l (i64).
func Answering(name, types string) []byte {
	const f64FromI32 = 0xb7
	var params []byte
	c := code(0x20, u(3))
	for _, t := range types {
		if t == 'l' {
			params, c = append(params, asm.I64), append(c, i64c(0))
		} else {
			params, c = append(params, asm.I32), append(c, i32c(0))
		}
	}
	return importing(name, params, append(c, 0x10, u(0), f64FromI32, 0x39, u(3), u(0), i32c(0)))
}
