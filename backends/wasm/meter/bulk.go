package meter

// Instructions that process any number of bytes or entries are replaced with calls
// of helpers, which pay for them first. The helpers split memory.fill and
// memory.copy into pieces, so that no single instruction takes long.

// helper is an added function. It replaces one bulk instruction, or keeps or resets
// the globals.
type helper struct {
	key  string // the encoded instruction, or the name of the export
	kind uint32 // index of its type
	of   instruction
}

// piece is the largest number of bytes that one instruction moves.
const piece = 1 << 20

// bytesPerUnit is how many bytes may be moved for one unit.
const bytesPerUnit = 32

func (i *instruction) isBulk() bool {
	if i.op == opMemoryGrow {
		return true
	}
	if i.op != opBulk {
		return false
	}
	switch i.sub {
	case bulkMemoryInit, bulkMemoryCopy, bulkMemoryFill, bulkTableInit, bulkTableCopy, bulkTableGrow, bulkTableFill:
		return true
	}
	return false
}

// helperOf returns the index of the helper for an instruction.
func (m *module) helperOf(r *reader, i instruction) uint32 {
	key := string(i.raw)
	if at, ok := m.helperAt[key]; ok {
		return at
	}
	const most = 1000 // one per pair of segment and table, in the worst case
	if len(m.helpers) == most {
		r.refuse("more than %d different bulk instructions", most)
	}
	t := functionType{params: []byte{typeI32, typeI32, typeI32}}
	switch {
	case i.op == opMemoryGrow:
		t = functionType{params: []byte{typeI32}, results: []byte{typeI32}}
	case i.sub == bulkTableGrow:
		t = functionType{params: []byte{m.element(r, i.index), typeI32}, results: []byte{typeI32}}
	case i.sub == bulkTableFill:
		t = functionType{params: []byte{typeI32, m.element(r, i.index), typeI32}}
	}
	i.raw = []byte(key)
	return m.addHelper(helper{key, m.typeIndex(t), i})
}

// addHelper adds a function and returns its index.
func (m *module) addHelper(h helper) uint32 {
	at := m.ownFunctions() + 1 + uint32(len(m.helpers))
	m.helpers, m.helperAt[h.key] = append(m.helpers, h), at
	return at
}

// The opcodes that helpers use.
const (
	opI32Eqz        = 0x45
	opI32Equal      = 0x46
	opI32LessU      = 0x49
	opI32GreaterU   = 0x4b
	opI32LessEqualU = 0x4d
	opI64GreaterU   = 0x56
	opI32Add        = 0x6a
	opI32Sub        = 0x6b
	opI32Mul        = 0x6c
	opI32Or         = 0x72
	opI32ShrU       = 0x76
	opI64Add        = 0x7c
	opI64Shl        = 0x86
	opI64ExtendU    = 0xad
)

// helperWriter writes the body of a helper, whose last parameter is a length.
type helperWriter struct {
	bodyWriter
	h      helper
	length uint32
}

func (m *module) helperBody(h helper) []byte {
	params := uint32(len(m.types[h.kind].params))
	w := &helperWriter{h: h, length: params - 1, bodyWriter: bodyWriter{m: m, debt: params, out: []byte{1, 1, typeI64}}}
	switch {
	case h.key == KeepExport:
		w.moveKept(func(global, kept uint32) { w.op(opGlobalGet, global); w.op(opGlobalSet, kept) })
	case h.key == ResetExport:
		w.moveKept(func(global, kept uint32) { w.op(opGlobalGet, kept); w.op(opGlobalSet, global) })
	case h.of.op == opMemoryGrow:
		w.memoryGrow()
	case h.of.sub == bulkMemoryFill || h.of.sub == bulkMemoryCopy:
		w.pieces()
	case h.of.sub == bulkMemoryInit:
		w.payByLength(bytesPerUnit)
		w.do()
	default: // tables, whose size is bounded
		w.payByLength(2)
		w.do()
	}
	return append(w.out, opEnd)
}

func (w *helperWriter) emit(ops ...byte) { w.out = append(w.out, ops...) }
func (w *helperWriter) get(local uint32) { w.op(opLocalGet, local) }
func (w *helperWriter) i32(v int32)      { w.out = putSigned(append(w.out, opI32Const), int64(v)) }

// do writes the instruction itself, applied to the parameters.
func (w *helperWriter) do() {
	for p := range w.length + 1 {
		w.get(p)
	}
	w.out = append(w.out, w.h.of.raw...)
}

// payI32 pays the amount on the stack, an unsigned i32.
func (w *helperWriter) payI32(amount func()) {
	w.op(opGlobalGet, w.m.counter())
	amount()
	w.emit(opI64ExtendU)
	w.subtract()
}

// payByLength pays one unit per each (a power of two) of the length.
func (w *helperWriter) payByLength(each int) {
	shift := int32(0)
	for 1<<shift < each {
		shift++
	}
	w.payI32(func() {
		w.get(w.length)
		w.i32(shift)
		w.emit(opI32ShrU)
	})
}

// memoryGrow pays for the requested pages, which are cleared, and for the existing
// ones, which may be moved. Pages that a reset left over are reused.
func (w *helperWriter) memoryGrow() {
	const (
		newPage  = 1024
		oldPage  = 64
		mostWant = 4096 // larger requests cost this much: they fail, or the next payment ends the call
	)
	w.payI32(func() {
		w.get(w.length)
		w.i32(mostWant)
		w.get(w.length)
		w.i32(mostWant)
		w.emit(opI32LessU, opSelect)
		w.i32(newPage)
		w.emit(opI32Mul, opMemorySize, 0)
		w.i32(oldPage)
		w.emit(opI32Mul, opI32Add)
	})
	left := func() { // pages
		w.emit(opMemorySize, 0)
		w.op(opGlobalGet, w.m.pages())
		w.emit(opI32Sub)
	}
	w.get(w.length)
	left()
	w.emit(opI32GreaterU, opIf, typeEmpty)
	w.get(w.length)
	left()
	w.emit(opI32Sub, opMemoryGrow, 0)
	w.i32(-1)
	w.emit(opI32Equal, opIf, typeEmpty)
	w.i32(-1)
	w.emit(opReturn, opEnd, opEnd)
	w.op(opGlobalGet, w.m.pages()) // the result
	w.op(opGlobalGet, w.m.pages())
	w.get(w.length)
	w.emit(opI32Add)
	w.op(opGlobalSet, w.m.pages())
}

// moveKept calls move for everything that a reset restores.
func (w *helperWriter) moveKept(move func(global, kept uint32)) {
	move(w.m.pages(), w.m.kept(0))
	for k, g := range w.m.mutable {
		move(g, w.m.kept(1+k))
	}
}

// pieces does a fill or copy piece by piece and pays for each piece. If the range
// exceeds the memory, it leaves the instruction to the engine, which traps before it
// writes anything.
func (w *helperWriter) pieces() {
	const destination, source = 0, 1 // for a fill, source is the byte
	isCopy := w.h.of.sub == bulkMemoryCopy
	w.get(w.length)
	w.i32(piece)
	w.emit(opI32GreaterU, opIf, typeEmpty)
	w.beyond(destination)
	if isCopy {
		w.beyond(source)
		w.emit(opI32Or)
	}
	w.emit(opI32Eqz, opIf, typeEmpty)
	forwards := func() {
		w.whileLong(func() {
			w.onePiece(func() { w.get(destination); w.get(source) })
			w.add(destination, piece)
			if isCopy {
				w.add(source, piece)
			}
		})
	}
	if isCopy { // the ranges may overlap: begin at the end that is not overwritten
		w.get(destination)
		w.get(source)
		w.emit(opI32LessEqualU, opIf, typeEmpty)
		forwards()
		w.emit(opElse)
		last := func(local uint32) {
			w.get(local)
			w.get(w.length)
			w.emit(opI32Add)
			w.i32(piece)
			w.emit(opI32Sub)
		}
		w.whileLong(func() { w.onePiece(func() { last(destination); last(source) }) })
		w.emit(opEnd)
	} else {
		forwards()
	}
	w.emit(opEnd, opEnd)
	w.payByLength(bytesPerUnit)
	w.do()
}

// beyond leaves on the stack whether the range at a local ends beyond the memory.
func (w *helperWriter) beyond(local uint32) {
	w.get(local)
	w.emit(opI64ExtendU)
	w.get(w.length)
	w.emit(opI64ExtendU, opI64Add, opMemorySize, 0, opI64ExtendU)
	w.out = putSigned(append(w.out, opI64Const), 16) // 2^16 bytes per page
	w.emit(opI64Shl, opI64GreaterU)
}

// onePiece pays for a piece and moves it.
func (w *helperWriter) onePiece(operands func()) {
	w.payI32(func() { w.i32(piece / bytesPerUnit) })
	operands()
	w.i32(piece)
	w.out = append(w.out, w.h.of.raw...)
}

func (w *helperWriter) add(local uint32, v int32) {
	w.get(local)
	w.i32(v)
	w.emit(opI32Add)
	w.op(opLocalSet, local)
}

// whileLong repeats body until at most one piece is left.
func (w *helperWriter) whileLong(body func()) {
	w.emit(opLoop, typeEmpty)
	body()
	w.add(w.length, -piece)
	w.get(w.length)
	w.i32(piece)
	w.emit(opI32GreaterU)
	w.op(opBrIf, 0)
	w.emit(opEnd)
}
