package meter

// readGlobals reads the globals and returns their new encoding.
func (m *module) readGlobals() []byte {
	r := m.section(sectionGlobal)
	n := r.count("globals", m.limits.Globals)
	var out []byte
	for i := range uint32(n) {
		kind, mutable := r.valueType(), r.byte()
		switch mutable {
		case 0:
		case 1:
			m.mutable = append(m.mutable, i)
		default:
			r.refuse("a global of kind %d is not known", mutable)
		}
		m.globalTypes = append(m.globalTypes, kind)
		out = m.constant(append(out, kind, mutable), r, i)
	}
	m.globals = uint32(n)
	r.end("the globals")
	return out
}

// The following globals are added after all others.

// counter returns the index of the global that holds the units left to spend.
func (m *module) counter() uint32 { return m.globals }

// pages returns the index of the memory's size as the module sees it: the memory
// itself does not shrink at a reset.
func (m *module) pages() uint32 { return m.globals + 1 }

// kept returns the index of the k-th saved value: the size of the memory, then the
// mutable globals.
func (m *module) kept(k int) uint32 { return m.globals + 2 + uint32(k) }

// writeGlobals writes the globals, given the encoding of the module's own.
func (m *module) writeGlobals(own []byte) []byte {
	added := 2
	var size uint32
	if m.memory != nil {
		size = m.memory.least
	}
	out := putZero(own, typeI64) // the counter
	out = append(putSigned(append(out, typeI32, 1, opI32Const), int64(int32(size))), opEnd)
	if !m.changes {
		added += 1 + len(m.mutable)
		out = putZero(out, typeI32)
		for _, g := range m.mutable {
			out = putZero(out, m.globalTypes[g])
		}
	}
	return append(putU32(nil, int(m.globals)+added), out...)
}

// putZero writes a mutable global of a type.
func putZero(out []byte, of byte) []byte {
	out = append(out, of, 1)
	switch of {
	case typeI32:
		out = append(out, opI32Const, 0)
	case typeI64:
		out = append(out, opI64Const, 0)
	case typeF32:
		out = append(out, opF32Const, 0, 0, 0, 0)
	case typeF64:
		out = append(out, opF64Const, 0, 0, 0, 0, 0, 0, 0, 0)
	case typeV128:
		out = append(append(out, opVector, vectorConst), make([]byte, 16)...)
	default:
		out = append(out, opRefNull, of)
	}
	return append(out, opEnd)
}

const vectorConst = 12

// constant re-encodes a constant expression, which is one instruction and may refer
// to the first globals.
func (m *module) constant(out []byte, r *reader, globals uint32) []byte {
	switch i := r.next(); {
	case i.op == opRefFunc:
		out = putU32(append(out, opRefFunc), m.function(r, i.index))
	case i.op == opGlobalGet && i.index >= globals:
		r.refuse("global %d does not exist", i.index)
	case i.op >= opI32Const && i.op <= opF64Const, i.op == opGlobalGet, i.op == opRefNull, i.op == opVector && i.sub == vectorConst:
		out = append(out, i.raw...)
	default:
		r.refuse("instruction %#x in a constant expression", i.op)
	}
	if end := r.byte(); end != opEnd {
		r.refuse("a constant expression of more than one instruction")
	}
	return append(out, opEnd)
}

// Kinds of exports.
const (
	exportFunction = iota
	exportTable
	exportMemory
	exportGlobal
)

func (m *module) rewriteExports() []byte {
	r := m.section(sectionExport)
	n := r.count("exports", m.limits.Exports)
	taken := map[string]bool{CounterExport: true, KeepExport: true, ResetExport: true}
	var out []byte
	for range n {
		name := m.name(r)
		if taken[string(name)] {
			r.refuse("the export name %.100q is used twice or reserved", name)
		}
		taken[string(name)] = true
		kind, index := r.byte(), r.u32()
		switch kind {
		case exportFunction:
			index = m.function(r, index)
		case exportTable:
			m.element(r, index)
		case exportMemory:
			if m.memory == nil || index != 0 {
				r.refuse("memory %d does not exist", index)
			}
		case exportGlobal:
			if index >= m.globals {
				r.refuse("global %d does not exist", index)
			}
		default:
			r.refuse("an export of kind %d is not known", kind)
		}
		out = putExport(out, string(name), kind, index)
	}
	r.end("the exports")
	out = putExport(out, CounterExport, exportGlobal, m.counter())
	n++
	for _, name := range []string{KeepExport, ResetExport} {
		if at, ok := m.helperAt[name]; ok {
			out = putExport(out, name, exportFunction, at)
			n++
		}
	}
	return append(putU32(nil, n), out...)
}

func putExport(out []byte, name string, kind byte, index uint32) []byte {
	return putU32(append(putVector(out, []byte(name)), kind), index)
}

// rewriteElements re-encodes element segments, whose eight kinds are combinations of
// three bits.
func (m *module) rewriteElements() []byte {
	const (
		passive     = 1 // or declarative, together with explicit
		explicit    = 2 // names its table, or is declarative
		expressions = 4
	)
	r := m.section(sectionElement)
	n := r.count("element segments", m.limits.Segments)
	out := putU32(nil, n)
	left := m.limits.Elements
	for range n {
		kind := r.u32()
		if kind > passive|explicit|expressions {
			r.refuse("element segments of kind %d are not known", kind)
		}
		out = putU32(out, kind)
		if kind&passive == 0 {
			if kind&explicit != 0 {
				table := r.u32()
				m.element(r, table)
				out = putU32(out, table)
			}
			out = m.constant(out, r, m.globals)
		}
		if kind&(passive|explicit) != 0 {
			if kind&expressions != 0 {
				out = append(out, r.refType())
			} else if of := r.byte(); of == 0 {
				out = append(out, of)
			} else {
				r.refuse("elements of kind %d are not known", of)
			}
		}
		items := r.count("elements beyond those of earlier segments", left)
		left -= items
		out = putU32(out, items)
		for range items {
			if kind&expressions != 0 {
				out = m.constant(out, r, m.globals)
			} else {
				out = putU32(out, m.function(r, r.u32()))
			}
		}
	}
	r.end("the elements")
	return out
}

// rewriteData re-encodes the data segments and the section with their count.
func (m *module) rewriteData(sections *[sections][]byte) {
	r := m.section(sectionData)
	n := r.count("data segments", m.limits.Segments)
	if c := m.sections[sectionDataCount]; c != nil {
		if counted := c.u32(); counted != uint32(n) {
			c.refuse("it has %d data segments and counts %d", n, counted)
		}
		c.end("the data count")
		sections[sectionDataCount] = putU32(nil, n)
	}
	if m.sections[sectionData] == nil {
		return
	}
	const (
		active = iota
		passive
		explicit // active, names its memory
	)
	out := putU32(make([]byte, 0, len(r.data)), n)
	for range n {
		switch kind := r.u32(); kind {
		case active, explicit:
			if kind == explicit && r.u32() != 0 {
				r.refuse("more than one memory is not known")
			}
			if m.memory == nil {
				r.refuse("data without a memory")
			}
			out = m.constant(putU32(out, active), r, m.globals)
		case passive:
			out = putU32(out, passive)
		default:
			r.refuse("data segments of kind %d are not known", kind)
		}
		out = putVector(out, r.bytes(r.count("bytes of data", noMost)))
	}
	r.end("the data")
	sections[sectionData] = out
}
