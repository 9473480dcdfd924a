package meter

import "bytes"

// body rewrites one function.
//
// The function and each of its loops is a region: its text without the loops
// inside it. Within a region control only goes forward, so each instruction runs
// at most once for each time that the region is entered: on entry the region's
// whole price is paid.
func (m *module) body(r *reader, t functionType) []byte {
	locals := uint64(len(t.params))
	groupsFrom := r.pos
	groups := r.count("groups of locals", noMost)
	listFrom := r.pos
	for range groups {
		locals += uint64(r.u32())
		r.valueType()
	}
	if locals > uint64(m.limits.Locals) {
		r.refuse("a function has %d locals; at most %d are taken", locals, m.limits.Locals)
	}
	codeFrom := r.pos
	s := survey(r)
	spares := uint32(0)
	if len(s.selects) > 0 {
		r.pos = listFrom
		types := localTypes(r, t.params, groups, locals)
		m.choices(r, s.selects, types)
		for _, c := range s.selects {
			s.prices[c.region] += c.price()
			spares = max(spares, c.spares())
		}
	}
	if most := uint64(m.limits.LocalBlocks); (locals+1+uint64(spares))*s.blocks > most {
		r.refuse("a function has %d locals and %d blocks; their product may be %d at most", locals, s.blocks, most)
	}
	added := []byte{1, typeI64} // one more local, for the debt
	if spares > 0 {
		added = append(added, byte(spares), typeI32)
	}
	out := putU32(make([]byte, 0, 2*(len(r.data)-groupsFrom)), groups+len(added)/2)
	out = append(out, r.data[listFrom:codeFrom]...)
	w := &bodyWriter{m: m, out: append(out, added...), debt: uint32(locals)}
	w.pay(s.prices[0])
	r.pos = codeFrom
	w.copy(r, locals, s)
	return w.out
}

// localTypes lists the types of a function's parameters and locals.
func localTypes(r *reader, params []byte, groups int, locals uint64) []byte {
	types := append(make([]byte, 0, locals), params...)
	for range groups {
		n := r.u32()
		types = append(types, bytes.Repeat([]byte{r.valueType()}, int(n))...)
	}
	return types
}

// entry is what entering any region costs by itself.
const entry = 3

// surveyed is what a first reading of a body finds.
type surveyed struct {
	prices  []int64  // of each region: the function's first, then the loops' in the order in which they begin
	selects []choice // in their order
	blocks  uint64
}

// survey reads a body through.
func survey(r *reader) surveyed {
	s := surveyed{prices: []int64{entry}, blocks: 1}
	open := []int{0} // region of each open block
	for len(open) > 0 {
		i := r.next()
		in := open[len(open)-1]
		switch i.op {
		case opLoop:
			s.prices = append(s.prices, entry)
			open = append(open, len(s.prices)-1)
			s.blocks++
		case opBlock, opIf:
			open = append(open, in)
			s.blocks++
		case opEnd:
			open = open[:len(open)-1]
		case opSelect, opSelectTyped:
			s.selects = append(s.selects, choice{region: uint32(in)})
		}
		s.prices[in] += i.price()
	}
	r.end("a function")
	return s
}

// bodyWriter writes a body.
type bodyWriter struct {
	m    *module
	out  []byte
	debt uint32 // the added local
}

func (w *bodyWriter) op(op byte, index uint32) { w.out = putU32(append(w.out, op), index) }

// pay takes a price from the counter, and asks the host for more where that goes
// below zero.
func (w *bodyWriter) pay(price int64) {
	w.op(opGlobalGet, w.m.counter())
	w.out = append(w.out, opI64Const)
	w.out = putSigned(w.out, price)
	w.subtract()
}

// subtract does the rest of pay, with the counter and the price on the stack.
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

// copy copies the instructions, paying at every loop, and replaces selects.
// Indices are checked against what the original module had, so that nothing
// reaches what was added.
func (w *bodyWriter) copy(r *reader, locals uint64, s surveyed) {
	m := w.m
	loops, selects := 0, 0
	for depth := uint32(0); ; {
		i := r.next()
		switch i.op {
		case opBlock, opLoop, opIf:
			if i.block >= int64(m.ownTypes) {
				r.refuse("type %d is not there", i.block)
			}
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
		case opBr, opBrIf, opBrTable:
			if i.index > depth {
				r.refuse("a branch leaves the function")
			}
		case opCall, opRefFunc:
			w.op(i.op, m.function(r, i.index))
			continue
		case opCallIndirect:
			if i.index >= m.ownTypes {
				r.refuse("type %d is not there", i.index)
			}
		case opLocalGet, opLocalSet, opLocalTee:
			if uint64(i.index) >= locals {
				r.refuse("local %d is not there", i.index)
			}
		case opGlobalGet, opGlobalSet:
			if i.index >= m.globals {
				r.refuse("global %d is not there", i.index)
			}
		}
		if i.isBulk() {
			w.op(opCall, m.helperOf(r, i))
			continue
		}
		w.out = append(w.out, i.raw...)
	}
}
