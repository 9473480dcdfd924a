package meter

// operands tracks the types on the operand stack through a body, as a validator
// does, but does not check them. Until the first error in a body, the types are
// those that a validator would see. After an error, code is copied or replaced with
// something equally invalid, and the engine refuses it.
//
// Unreachable code is skipped: it never runs, and a block's results follow from its
// type.
type operands struct {
	m      *module
	locals []byte
	stack  []byte
	frames []frame // reachable open blocks, the function first
	dead   bool    // the code up to the end of the last frame is unreachable
	inner  int     // blocks that began in unreachable code
}

// frame is an open block.
type frame struct {
	height int32 // of the stack below its parameters
	block  int32 // its type, as in instruction
}

const (
	mostOperands = 1 << 20 // on the stack of one function
	mostValues   = 1000    // left by one instruction; engines have the same limit
)

// step processes the next instruction.
func (o *operands) step(r *reader, i *instruction) {
	if o.dead && !o.revives(i) {
		return
	}
	switch i.op {
	case opBlock, opLoop, opIf:
		if i.op == opIf {
			o.take(r, 1)
		}
		params := len(o.m.blockType(r, i.block).params)
		o.need(r, params)
		o.frames = append(o.frames, frame{int32(len(o.stack) - params), int32(i.block)})
	case opElse:
		top := o.top()
		o.stack = o.stack[:top.height]
		o.leave(r, o.m.blockType(r, int64(top.block)).params)
	case opEnd:
		top := o.top()
		o.stack = o.stack[:top.height]
		o.frames = o.frames[:len(o.frames)-1]
		o.leave(r, o.m.blockType(r, int64(top.block)).results)
	case opUnreachable, opBr, opBrTable, opReturn:
		o.dead = true
	case opBrIf:
		o.take(r, 1) // the values that a branch passes stay on the stack
	case opCall:
		o.call(r, o.m.typeOf(r, i.index))
	case opCallIndirect:
		o.take(r, 1)
		o.call(r, o.m.ownType(r, i.index))
	case opSelect, opSelectTyped:
		o.choose(r, i)
	case opLocalGet, opLocalTee:
		if uint64(i.index) >= uint64(len(o.locals)) {
			r.refuse("local %d does not exist", i.index)
		}
		if i.op == opLocalTee {
			o.take(r, 1)
		}
		o.leave(r, o.locals[i.index:i.index+1])
	case opGlobalGet:
		if i.index >= o.m.globals {
			r.refuse("global %d does not exist", i.index)
		}
		o.leave(r, o.m.globalTypes[i.index:i.index+1])
	case opTableGet:
		o.take(r, 1)
		o.leave(r, []byte{o.m.element(r, i.index)})
	case opRefNull:
		o.leave(r, i.raw[1:])
	default:
		e := i.effect()
		o.take(r, int(e.takes))
		if e.leaves != 0 {
			o.stack = append(o.stack, e.leaves)
		}
	}
}

// revives skips unreachable code and reports whether the instruction ends it.
func (o *operands) revives(i *instruction) bool {
	switch i.op {
	case opBlock, opLoop, opIf:
		o.inner++
	case opElse, opEnd:
		o.dead = o.inner > 0
		if o.dead && i.op == opEnd {
			o.inner--
		}
	}
	return !o.dead
}

func (o *operands) top() frame { return o.frames[len(o.frames)-1] }

// need refuses an instruction that takes more operands than the innermost block has.
func (o *operands) need(r *reader, n int) {
	if there := len(o.stack) - int(o.top().height); n > there {
		r.refuse("an instruction takes %d operands where there are %d", n, there)
	}
}

func (o *operands) take(r *reader, n int) {
	o.need(r, n)
	o.stack = o.stack[:len(o.stack)-n]
}

func (o *operands) leave(r *reader, types []byte) {
	if len(types) > mostValues {
		r.refuse("an instruction leaves %d values; at most %d are allowed", len(types), mostValues)
	}
	if o.stack = append(o.stack, types...); len(o.stack) > mostOperands {
		r.refuse("a function has more than %d operands at a time", mostOperands)
	}
}

func (o *operands) call(r *reader, t functionType) {
	o.take(r, len(t.params))
	o.leave(r, t.results)
}

// choose processes a select. It checks the declared type, because wazero does not.
func (o *operands) choose(r *reader, i *instruction) {
	o.need(r, 3)
	n := len(o.stack) - 2
	a, b := o.stack[n-1], o.stack[n]
	if a != b {
		r.refuse("a select of values of different types, %#x and %#x", a, b)
	}
	if says := i.raw[len(i.raw)-1]; i.op == opSelectTyped && a != says {
		r.refuse("a select of values of type %#x that declares %#x", a, says)
	}
	o.stack = o.stack[:n]
}

// blockType returns the type of a block.
func (m *module) blockType(r *reader, block int64) functionType {
	if block >= 0 {
		return m.ownType(r, uint32(min(block, 1<<32-1)))
	}
	if k := byte(block & 0x7f); k != typeEmpty {
		return functionType{results: []byte{k}}
	}
	return functionType{}
}

// ownType returns a type of the original module.
func (m *module) ownType(r *reader, t uint32) functionType {
	if t >= m.ownTypes {
		r.refuse("type %d does not exist", t)
	}
	return m.types[t]
}

// typeOf returns the type of a function, by its index in the original module.
func (m *module) typeOf(r *reader, f uint32) functionType {
	if f >= m.ownFunctions() {
		r.refuse("function %d does not exist", f)
	}
	if f < m.imported {
		return m.types[m.imports[f].kind]
	}
	return m.types[m.functions[f-m.imported]]
}

// element returns the type of a table's entries.
func (m *module) element(r *reader, t uint32) byte {
	if t >= uint32(len(m.tables)) {
		r.refuse("table %d does not exist", t)
	}
	return m.tables[t].kind
}
