package meter

// A select of f32, f64 or v128 is replaced with instructions that do the same, to
// the bit. On amd64, wazero up to 1.12.0 may reuse the register of a select's
// operand too early and then compute a wrong value
// (https://github.com/wazero/wazero/issues/2534).
//
// The replacement is valid exactly where the select was: it takes two values of the
// type and an i32, and leaves one value of the type.

// choice is a select of a body.
type choice struct {
	region uint32 // the region that pays for it
	of     byte   // type of its operands if it is replaced, else 0
}

// spares returns the number of added i32 locals that a replacement uses.
func (c choice) spares() uint32 {
	switch c.of {
	case typeF32:
		return 2
	case typeF64:
		return 1
	}
	return 0
}

// price returns the cost of a replacement beyond that of the select.
func (c choice) price() int64 {
	if c.of == 0 {
		return 0
	}
	return 7
}

// choices finds the types of a body's selects and decides which to replace.
// Unreachable ones stay.
func (m *module) choices(r *reader, selects []choice, locals []byte) {
	o := &operands{m: m, locals: locals, frames: []frame{{0, typeEmpty - 0x80}}}
	for k := 0; k < len(selects); {
		i := r.next()
		o.step(r, &i)
		if i.op != opSelect && i.op != opSelectTyped {
			continue
		}
		if !o.dead {
			switch of := o.stack[len(o.stack)-1]; of {
			case typeF32, typeF64, typeV128:
				selects[k].of = of
			}
		}
		k++
	}
}

// The opcodes that replacements use.
const (
	opI64Sub         = 0x7d
	opI32FromF32     = 0xbc // reinterpretations
	opI64FromF64     = 0xbd
	opF32FromI32     = 0xbe
	opF64FromI64     = 0xbf
	vectorSplatI64x2 = 18
	vectorBitselect  = 82
)

// choose writes the replacement of a select. The local for the debt, an i64, is free
// between payments.
func (w *bodyWriter) choose(of byte) {
	condition := w.debt + 1
	switch of {
	case typeF32:
		w.chooseBits(opI32FromF32, opF32FromI32, w.debt+2, condition)
	case typeF64:
		w.chooseBits(opI64FromF64, opF64FromI64, w.debt, condition)
	case typeV128: // extend(condition == 0) - 1 is all ones for the first value, 0 for the second
		w.out = append(w.out, opI32Eqz, opI64ExtendU, opI64Const, 1, opI64Sub, opVector, vectorSplatI64x2, opVector, vectorBitselect)
	}
}

// chooseBits chooses between two floats by their bits.
func (w *bodyWriter) chooseBits(toBits, fromBits byte, second, condition uint32) {
	w.op(opLocalSet, condition)
	w.out = append(w.out, toBits)
	w.op(opLocalSet, second)
	w.out = append(w.out, toBits)
	w.op(opLocalGet, second)
	w.op(opLocalGet, condition)
	w.out = append(w.out, opSelect, fromBits)
}
