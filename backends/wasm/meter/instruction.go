package meter

// The opcodes that the rewriter handles by name.
const (
	opUnreachable  = 0x00
	opNop          = 0x01
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opSelect       = 0x1b
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableGet     = 0x25
	opTableSet     = 0x26
	opFirstLoad    = 0x28
	opLastStore    = 0x3e
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opFirstNumeric = 0x45
	opLastNumeric  = 0xc4
	opRefNull      = 0xd0
	opRefIsNull    = 0xd1
	opRefFunc      = 0xd2
	opBulk         = 0xfc
	opVector       = 0xfd
)

// Sub-opcodes of opBulk.
const (
	bulkLastTruncate = 7
	bulkMemoryInit   = 8
	bulkDataDrop     = 9
	bulkMemoryCopy   = 10
	bulkMemoryFill   = 11
	bulkTableInit    = 12
	bulkElemDrop     = 13
	bulkTableCopy    = 14
	bulkTableGrow    = 15
	bulkTableSize    = 16
	bulkTableFill    = 17
)

// instruction is one decoded instruction.
type instruction struct {
	op     byte
	sub    uint32 // of opBulk and opVector
	raw    []byte // re-encoded in its shortest form; valid until the next one is read
	index  uint32 // its first index; of opBrTable the largest
	second uint32 // its second index; of opBrTable the last
	block  int64  // type of a block: negative for a value type or none
	count  int    // targets of opBrTable
}

// next decodes an instruction. It refuses what is not part of WebAssembly 2.0.
func (r *reader) next() instruction {
	i := instruction{op: r.byte()}
	r.raw = append(r.raw[:0], i.op)
	switch op := i.op; {
	case op <= opNop, op == opElse, op == opEnd, op == opReturn, op == opDrop, op == opSelect, op == opRefIsNull:
	case op >= opBlock && op <= opIf:
		i.block = r.copySigned(33)
		if i.block < 0 && (i.block < -64 || (byte(i.block&0x7f) != typeEmpty && !isValueType(byte(i.block&0x7f)))) {
			r.refuse("block type %d is not known", i.block)
		}
	case op == opBr, op == opBrIf, op == opCall, op == opRefFunc, op >= opLocalGet && op <= opTableSet:
		i.index = r.copyU32()
	case op == opBrTable:
		r.targets(&i)
	case op == opCallIndirect:
		i.index, i.second = r.copyU32(), r.copyU32()
	case op == opSelectTyped:
		if r.count("types of a select", noMost) != 1 {
			r.refuse("a select of other than one value is not known")
		}
		r.raw = append(r.raw, 1, r.valueType())
	case op >= opFirstLoad && op <= opLastStore:
		r.memoryArgument()
	case op == opMemorySize, op == opMemoryGrow:
		r.zero()
	case op == opI32Const:
		r.copySigned(32)
	case op == opI64Const:
		r.copySigned(64)
	case op == opF32Const:
		r.copyBytes(4)
	case op == opF64Const:
		r.copyBytes(8)
	case op >= opFirstNumeric && op <= opLastNumeric:
	case op == opRefNull:
		r.raw = append(r.raw, r.refType())
	case op == opBulk:
		r.bulk(&i)
	case op == opVector:
		r.vector(&i)
	default:
		r.refuse("instruction %#x is not known", op)
	}
	i.raw = r.raw
	return i
}

// targets reads the targets of a br_table. The default comes last.
func (r *reader) targets(i *instruction) {
	n := r.count("targets", noMost)
	r.raw = putU32(r.raw, n)
	i.count = n + 1
	for range i.count {
		i.second = r.copyU32()
		i.index = max(i.index, i.second)
	}
}

// memoryArgument reads an alignment and an offset.
func (r *reader) memoryArgument() {
	r.copyU32()
	r.copyU32()
}

// zero reads the index of the only memory.
func (r *reader) zero() {
	if r.byte() != 0 {
		r.refuse("more than one memory is not known")
	}
	r.raw = append(r.raw, 0)
}

func (r *reader) bulk(i *instruction) {
	switch i.sub = r.copyU32(); i.sub {
	case bulkMemoryInit:
		i.index = r.copyU32()
		r.zero()
	case bulkMemoryCopy:
		r.zero()
		r.zero()
	case bulkMemoryFill:
		r.zero()
	case bulkTableInit, bulkTableCopy:
		i.index, i.second = r.copyU32(), r.copyU32()
	case bulkDataDrop, bulkElemDrop, bulkTableGrow, bulkTableSize, bulkTableFill:
		i.index = r.copyU32()
	default:
		if i.sub > bulkLastTruncate {
			r.refuse("instruction %#x %d is not known", opBulk, i.sub)
		}
	}
}

// vector decodes a SIMD instruction. wazero reads one byte as the opcode and takes
// longer encodings for several instructions, so the same bytes would have two
// meanings. Only the shortest form is accepted, which both read alike.
func (r *reader) vector(i *instruction) {
	i.sub = uint32(r.byte())
	r.raw = append(r.raw, byte(i.sub))
	if i.sub >= 0x80 {
		if r.byte() != 1 {
			r.refuse("a vector instruction is not known, or not in its shortest form")
		}
		r.raw = append(r.raw, 1)
	}
	switch n := i.sub; {
	case n <= 11, n == 92, n == 93: // loads and stores
		r.memoryArgument()
	case n == 12, n == 13: // constant and shuffle
		r.copyBytes(16)
	case n >= 21 && n <= 34: // lanes
		r.copyBytes(1)
	case n >= 84 && n <= 91: // loads and stores of lanes
		r.memoryArgument()
		r.copyBytes(1)
	}
}

// keepsState reports whether an instruction changes what a reset does not restore:
// tables, and which segments are dropped.
func (i *instruction) keepsState() bool {
	if i.op == opTableSet {
		return true
	}
	if i.op != opBulk {
		return false
	}
	switch i.sub {
	case bulkDataDrop, bulkTableInit, bulkElemDrop, bulkTableCopy, bulkTableGrow, bulkTableFill:
		return true
	}
	return false
}

// price returns the cost of an instruction in rough nanoseconds, in a bad case
// rather than on average.
func (i *instruction) price() int64 {
	const (
		call     = 4
		division = 8
		slow     = 5
		bulk     = 16
		grow     = 64
		wide     = 2
	)
	switch op := i.op; {
	case op == opNop, op >= opBlock && op <= opElse && op != opIf, op == opEnd, op == opDrop:
		return 0
	case op == opCall, op == opCallIndirect:
		return call
	case op == opBrTable:
		return 1 + int64(i.count)/64
	case op >= 0x6d && op <= 0x70, op >= 0x7f && op <= 0x82: // division and remainder of integers
		return division
	case op == 0x91, op == 0x95, op == 0x9f, op == 0xa3: // square roots and division of floats
		return slow
	case op == opMemoryGrow:
		return grow
	case op == opBulk && i.sub > bulkLastTruncate:
		return bulk
	case op == opVector:
		return wide
	}
	return 1
}
