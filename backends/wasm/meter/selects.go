package meter

// A select of f32, f64 or v128 is replaced by instructions that do the same, to
// the bit: on amd64, wazero up to 1.12.0 may put the register of its operands to
// another use too early and so answer with a wrong value
// (https://github.com/wazero/wazero/issues/2534).
//
// What stands in for it is valid where it was and nowhere else: it takes two
// values of the type and an i32, and leaves one value of the type.

// choice is a select of a body.
type choice struct {
	region uint32 // that pays for it
	of     byte   // type of its operands where it is replaced; 0 otherwise
}

// spares counts the added locals, of type i32, that a replacement takes.
func (c choice) spares() uint32 {
	switch c.of {
	case typeF32:
		return 2
	case typeF64:
		return 1
	}
	return 0
}

// price is what a replacement costs beyond the select.
func (c choice) price() int64 {
	if c.of == 0 {
		return 0
	}
	return 7
}

// choices finds the types of a body's selects, and which of them to replace.
// Those that are never reached stay.
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

// Opcodes that replacements are written with.
const (
	opI64Sub         = 0x7d
	opI32FromF32     = 0xbc // reinterpretations
	opI64FromF64     = 0xbd
	opF32FromI32     = 0xbe
	opF64FromI64     = 0xbf
	vectorSplatI64x2 = 18
	vectorBitselect  = 82
)

// choose writes what stands in for a select. The local for the debt, an i64, is
// free between payments.
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
