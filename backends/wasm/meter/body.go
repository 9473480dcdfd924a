package meter

import "bytes"

// body rewrites one function.
//
// A region is a function or a loop without the loops inside it. Within a region
// control only moves forward, so each instruction runs at most once per entry of the
// region. The region's whole price is paid on entry.
func (m *module) body(r *reader, t functionType) []byte {
	groups, locals := m.readLocals(r, t)
	codeFrom := r.pos
	s := m.survey(r, t)
	spares := uint32(0)
	if len(s.selects) > 0 {
		r.pos = codeFrom
		m.choices(r, s.selects, localTypes(t.params, groups, locals))
		for _, c := range s.selects {
			s.prices[c.region] += c.price()
			spares = max(spares, c.spares())
		}
	}
	if most := uint64(m.limits.LocalBlocks); (locals+1+uint64(spares))*s.blocks > most {
		r.refuse("a function has %d locals and %d blocks; their product may be %d at most", locals, s.blocks, most)
	}
	groups = append(groups, group{1, typeI64}) // a local for the debt
	if spares > 0 {
		groups = append(groups, group{spares, typeI32})
	}
	w := &bodyWriter{m: m, out: putU32(make([]byte, 0, 2*len(r.data)), len(groups)), debt: uint32(locals)}
	for _, g := range groups {
		w.out = append(putU32(w.out, g.count), g.of)
	}
	w.pay(s.prices[0])
	r.pos = codeFrom
	w.copy(r, locals, s)
	return w.out
}

// group is a number of locals of one type.
type group struct {
	count uint32
	of    byte
}

// readLocals reads the locals of a function. It counts parameters as locals.
func (m *module) readLocals(r *reader, t functionType) (groups []group, locals uint64) {
	locals = uint64(len(t.params))
	for range r.count("groups of locals", noMost) {
		g := group{r.u32(), r.valueType()}
		if locals += uint64(g.count); g.count > 0 {
			groups = append(groups, g)
		}
	}
	if locals > uint64(m.limits.Locals) {
		r.refuse("a function has %d locals; at most %d are allowed", locals, m.limits.Locals)
	}
	if m.locals += int(locals); m.locals > m.limits.AllLocals {
		r.refuse("its functions have more than %d locals", m.limits.AllLocals)
	}
	return groups, locals
}

// localTypes returns the types of a function's parameters and locals.
func localTypes(params []byte, groups []group, locals uint64) []byte {
	types := append(make([]byte, 0, locals), params...)
	for _, g := range groups {
		types = append(types, bytes.Repeat([]byte{g.of}, int(g.count))...)
	}
	return types
}

// entry is the price of entering a region.
const entry = 3

// surveyed is the result of reading a body for the first time.
type surveyed struct {
	prices  []int64  // per region: the function's first, then the loops' in order
	selects []choice // in order
	blocks  uint64
	values  int // passed by calls, blocks and branches
}

// open is a block that is not closed yet.
type open struct {
	region int
	passed int // values that a branch to it passes
}

// survey reads a body for the first time.
func (m *module) survey(r *reader, t functionType) surveyed {
	s := surveyed{prices: []int64{entry}, blocks: 1}
	blocks := []open{{0, len(t.results)}}
	for len(blocks) > 0 {
		i := r.next()
		in := blocks[len(blocks)-1].region
		switch i.op {
		case opLoop:
			s.prices = append(s.prices, entry)
			blocks = append(blocks, open{len(s.prices) - 1, len(m.blockType(r, i.block).params)})
			s.blocks++
		case opBlock, opIf:
			blocks = append(blocks, open{in, len(m.blockType(r, i.block).results)})
			s.blocks++
		case opEnd:
			blocks = blocks[:len(blocks)-1]
		case opSelect, opSelectTyped:
			s.selects = append(s.selects, choice{region: uint32(in)})
		}
		if len(blocks) > m.limits.Depth {
			r.refuse("its blocks are nested more than %d deep", m.limits.Depth)
		}
		passed := m.passes(r, &i, blocks)
		if s.values += passed; s.values > m.limits.Values {
			r.refuse("the calls, blocks and branches of a function pass more than %d values", m.limits.Values)
		}
		s.prices[in] += i.price() + int64(passed)/valuesPerUnit
		m.changes = m.changes || i.keepsState()
	}
	r.end("a function")
	if m.values += s.values; m.values > m.limits.AllValues {
		r.refuse("its calls, blocks and branches pass more than %d values", m.limits.AllValues)
	}
	return s
}

// valuesPerUnit is how many passed values cost one unit. A few are included in an
// instruction's price.
const valuesPerUnit = 8

// passes counts the values that an instruction takes and leaves according to its
// type. Engines handle them one by one, and the instruction's size does not bound
// their number.
func (m *module) passes(r *reader, i *instruction, blocks []open) int {
	switch i.op {
	case opCall:
		return m.typeOf(r, i.index).values()
	case opCallIndirect:
		return m.ownType(r, i.index).values()
	case opBlock, opLoop, opIf:
		return 2 * m.blockType(r, i.block).values() // at its beginning and its end
	case opReturn:
		return blocks[0].passed
	case opBr, opBrIf, opBrTable:
		if int64(i.index) >= int64(len(blocks)) {
			r.refuse("a branch leaves the function")
		}
		if i.op == opBrTable { // a valid one passes the same values to all its targets
			return i.count * blocks[len(blocks)-1-int(i.second)].passed
		}
		return blocks[len(blocks)-1-int(i.index)].passed
	}
	return 0
}

// bodyWriter writes a body.
type bodyWriter struct {
	m    *module
	out  []byte
	debt uint32 // the added local
}

func (w *bodyWriter) op(op byte, index uint32) { w.out = putU32(append(w.out, op), index) }

// pay subtracts a price from the counter, and asks the host for more if the counter
// falls below zero.
func (w *bodyWriter) pay(price int64) {
	w.op(opGlobalGet, w.m.counter())
	w.out = append(w.out, opI64Const)
	w.out = putSigned(w.out, price)
	w.subtract()
}

// subtract is the second part of pay, with the counter and the price on the stack.
func (w *bodyWriter) subtract() {
	const (
		opI64LessSigned = 0x53
		opI64Subtract   = 0x7d
	)
	w.out = append(w.out, opI64Subtract)
	w.op(opLocalTee, w.debt)
	w.op(opGlobalSet, w.m.counter())
	w.op(opLocalGet, w.debt)
	w.out = append(w.out, opI64Const, 0, opI64LessSigned, opIf, typeEmpty)
	w.op(opLocalGet, w.debt)
	w.op(opCall, w.m.refuel())
	w.op(opGlobalSet, w.m.counter())
	w.out = append(w.out, opEnd)
}

// copy copies the instructions, pays at every loop, and replaces selects. It checks
// indices against the original module, so that no instruction reaches what was
// added.
func (w *bodyWriter) copy(r *reader, locals uint64, s surveyed) {
	m := w.m
	loops, selects := 0, 0
	for depth := uint32(0); ; {
		i := r.next()
		switch i.op {
		case opBlock, opLoop, opIf:
			depth++
			w.out = append(w.out, i.raw...)
			if i.op == opLoop {
				loops++
				w.pay(s.prices[loops])
			}
			continue
		case opEnd:
			w.out = append(w.out, opEnd)
			if depth == 0 {
				return
			}
			depth--
			continue
		case opSelect, opSelectTyped:
			selects++
			if of := s.selects[selects-1].of; of != 0 {
				w.choose(of)
				continue
			}
		case opCall, opRefFunc:
			w.op(i.op, m.function(r, i.index))
			continue
		case opMemorySize:
			if m.memory == nil {
				r.refuse("there is no memory")
			}
			w.op(opGlobalGet, m.pages())
			continue
		case opLocalGet, opLocalSet, opLocalTee:
			if uint64(i.index) >= locals {
				r.refuse("local %d does not exist", i.index)
			}
		case opGlobalGet, opGlobalSet:
			if i.index >= m.globals {
				r.refuse("global %d does not exist", i.index)
			}
		}
		if i.isBulk() {
			w.op(opCall, m.helperOf(r, i))
			continue
		}
		w.out = append(w.out, i.raw...)
	}
}
