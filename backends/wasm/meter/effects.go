package meter

// effect describes what an instruction does to the operand stack: how many values it
// takes, and the type of the value that it leaves, or 0 for none. The engine checks
// the types of the values that it takes.
type effect struct{ takes, leaves byte }

// span gives the opcodes from first to last the same effect.
type span struct {
	first, last byte
	effect
}

func effects(common effect, spans ...span) *[256]effect {
	var t [256]effect
	for op := range t {
		t[op] = common
	}
	for _, s := range spans {
		for op := int(s.first); op <= int(s.last); op++ {
			t[op] = s.effect
		}
	}
	return &t
}

// plainEffects holds the effects of one-byte opcodes, except those that
// operands.step handles.
var plainEffects = effects(effect{},
	span{opDrop, opDrop, effect{1, 0}},
	span{opLocalSet, opLocalSet, effect{1, 0}},
	span{opGlobalSet, opGlobalSet, effect{1, 0}},
	span{opTableSet, opTableSet, effect{2, 0}},
	span{0x28, 0x28, effect{1, typeI32}}, // loads
	span{0x29, 0x29, effect{1, typeI64}},
	span{0x2a, 0x2a, effect{1, typeF32}},
	span{0x2b, 0x2b, effect{1, typeF64}},
	span{0x2c, 0x2f, effect{1, typeI32}},
	span{0x30, 0x35, effect{1, typeI64}},
	span{0x36, opLastStore, effect{2, 0}},
	span{opMemorySize, opMemorySize, effect{0, typeI32}},
	span{opMemoryGrow, opMemoryGrow, effect{1, typeI32}},
	span{opI32Const, opI32Const, effect{0, typeI32}},
	span{opI64Const, opI64Const, effect{0, typeI64}},
	span{opF32Const, opF32Const, effect{0, typeF32}},
	span{opF64Const, opF64Const, effect{0, typeF64}},
	span{0x45, 0x45, effect{1, typeI32}}, // tests and comparisons
	span{0x46, 0x4f, effect{2, typeI32}},
	span{0x50, 0x50, effect{1, typeI32}},
	span{0x51, 0x66, effect{2, typeI32}},
	span{0x67, 0x69, effect{1, typeI32}}, // arithmetic with one operand, with two
	span{0x6a, 0x78, effect{2, typeI32}},
	span{0x79, 0x7b, effect{1, typeI64}},
	span{0x7c, 0x8a, effect{2, typeI64}},
	span{0x8b, 0x91, effect{1, typeF32}},
	span{0x92, 0x98, effect{2, typeF32}},
	span{0x99, 0x9f, effect{1, typeF64}},
	span{0xa0, 0xa6, effect{2, typeF64}},
	span{0xa7, 0xab, effect{1, typeI32}}, // conversions
	span{0xac, 0xb1, effect{1, typeI64}},
	span{0xb2, 0xb6, effect{1, typeF32}},
	span{0xb7, 0xbb, effect{1, typeF64}},
	span{0xbc, 0xbc, effect{1, typeI32}}, // reinterpretations
	span{0xbd, 0xbd, effect{1, typeI64}},
	span{0xbe, 0xbe, effect{1, typeF32}},
	span{0xbf, 0xbf, effect{1, typeF64}},
	span{0xc0, 0xc1, effect{1, typeI32}}, // sign extensions
	span{0xc2, 0xc4, effect{1, typeI64}},
	span{opRefIsNull, opRefIsNull, effect{1, typeI32}},
	span{opRefFunc, opRefFunc, effect{0, typeFuncref}},
)

// bulkEffects holds the effects of the sub-opcodes of opBulk.
var bulkEffects = effects(effect{},
	span{0, 3, effect{1, typeI32}},
	span{4, bulkLastTruncate, effect{1, typeI64}},
	span{bulkMemoryInit, bulkMemoryInit, effect{3, 0}},
	span{bulkMemoryCopy, bulkTableInit, effect{3, 0}},
	span{bulkTableCopy, bulkTableCopy, effect{3, 0}},
	span{bulkTableGrow, bulkTableGrow, effect{2, typeI32}},
	span{bulkTableSize, bulkTableSize, effect{0, typeI32}},
	span{bulkTableFill, bulkTableFill, effect{3, 0}},
)

// vectorEffects holds the effects of the sub-opcodes of opVector. Most make a vector
// from two values. The engine refuses those that are undefined.
var vectorEffects = effects(effect{2, typeV128},
	span{0, 10, effect{1, typeV128}}, // loads
	span{11, 11, effect{2, 0}},
	span{12, 12, effect{0, typeV128}},
	span{15, 20, effect{1, typeV128}}, // splats
	span{21, 22, effect{1, typeI32}},  // lanes
	span{24, 25, effect{1, typeI32}},
	span{27, 27, effect{1, typeI32}},
	span{29, 29, effect{1, typeI64}},
	span{31, 31, effect{1, typeF32}},
	span{33, 33, effect{1, typeF64}},
	span{77, 77, effect{1, typeV128}}, // not
	span{82, 82, effect{3, typeV128}}, // bitselect
	span{83, 83, effect{1, typeI32}},
	span{88, 91, effect{2, 0}}, // stores of lanes
	span{92, 98, effect{1, typeV128}},
	span{99, 100, effect{1, typeI32}},
	span{103, 106, effect{1, typeV128}},
	span{116, 117, effect{1, typeV128}},
	span{122, 122, effect{1, typeV128}},
	span{124, 129, effect{1, typeV128}},
	span{131, 132, effect{1, typeI32}},
	span{135, 138, effect{1, typeV128}},
	span{148, 148, effect{1, typeV128}},
	span{160, 161, effect{1, typeV128}},
	span{163, 164, effect{1, typeI32}},
	span{167, 170, effect{1, typeV128}},
	span{192, 193, effect{1, typeV128}},
	span{195, 196, effect{1, typeI32}},
	span{199, 202, effect{1, typeV128}},
	span{224, 227, effect{1, typeV128}},
	span{236, 239, effect{1, typeV128}},
	span{248, 255, effect{1, typeV128}},
)

// effect returns the effect of an instruction.
func (i *instruction) effect() effect {
	switch i.op {
	case opBulk:
		return bulkEffects[byte(i.sub)] // next has refused larger ones
	case opVector:
		return vectorEffects[byte(i.sub)]
	}
	return plainEffects[i.op]
}
