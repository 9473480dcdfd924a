package meter

// refuelType is i64 -> i64: the debt for a new slice.
var refuelType = functionType{params: []byte{typeI64}, results: []byte{typeI64}}

// rewrite writes the metered module.
func (m *module) rewrite() []byte {
	refuel := m.typeIndex(refuelType)
	globals := m.rewriteGlobals()
	code := m.rewriteCode() // which adds types and functions
	var out [sections][]byte
	out[sectionImport] = append(putU32(nil, m.imported+1), m.imports...)
	out[sectionImport] = putVector(putVector(out[sectionImport], []byte(ImportModule)), []byte(ImportName))
	out[sectionImport] = putU32(append(out[sectionImport], 0), refuel)
	if n := len(m.functions) + len(m.helpers); n > 0 {
		out[sectionFunction] = putU32(nil, n)
		for _, t := range m.functions {
			out[sectionFunction] = putU32(out[sectionFunction], t)
		}
		for _, h := range m.helpers {
			out[sectionFunction] = putU32(out[sectionFunction], h.kind)
		}
		out[sectionCode] = code
	}
	if len(m.tables) > 0 {
		out[sectionTable] = putU32(nil, len(m.tables))
		for _, t := range m.tables {
			out[sectionTable] = putU32(putU32(append(out[sectionTable], t.kind, 1), t.least), t.most)
		}
	}
	for _, id := range []byte{sectionMemory, sectionDataCount} {
		if s := m.sections[id]; s != nil {
			out[id] = s.data
		}
	}
	out[sectionGlobal] = globals
	out[sectionExport] = m.rewriteExports()
	if s := m.sections[sectionStart]; s != nil {
		out[sectionStart] = putU32(nil, m.function(s, s.u32()))
		s.end("the start section")
	}
	if m.sections[sectionElement] != nil {
		out[sectionElement] = m.rewriteElements()
	}
	if m.sections[sectionData] != nil {
		out[sectionData] = m.rewriteData()
	}
	out[sectionType] = putU32(nil, len(m.types))
	for _, t := range m.types {
		out[sectionType] = putVector(putVector(append(out[sectionType], typeFunc), t.params), t.results)
	}
	whole := append([]byte(nil), header...)
	for _, id := range sectionOrder {
		if out[id] != nil {
			whole = putVector(append(whole, id), out[id])
		}
	}
	return whole
}

func (m *module) rewriteGlobals() []byte {
	r := m.section(sectionGlobal)
	n := r.count("globals", m.limits.Globals)
	m.globals = uint32(n)
	out := putU32(nil, n+1)
	for range n {
		kind := r.valueType()
		m.globalTypes = append(m.globalTypes, kind)
		out = append(out, kind, r.byte())
		out = m.constant(out, r)
	}
	r.end("the globals")
	return append(out, typeI64, 1, opI64Const, 0, opEnd) // the counter: mutable, 0
}

// constant copies a constant expression.
func (m *module) constant(out []byte, r *reader) []byte {
	for {
		i := r.next()
		switch i.op {
		case opRefFunc:
			out = putU32(append(out, opRefFunc), m.function(r, i.index))
			continue
		case opGlobalGet:
			if i.index >= m.globals {
				r.refuse("global %d is not there", i.index)
			}
		case opBlock, opLoop, opIf, opElse, opCall, opCallIndirect:
			r.refuse("instruction %#x in a constant expression", i.op)
		}
		out = append(out, i.raw...)
		if i.op == opEnd {
			return out
		}
	}
}

func (m *module) rewriteExports() []byte {
	r := m.section(sectionExport)
	n := r.count("exports", m.limits.Exports)
	out := putU32(nil, n+1)
	for range n {
		name := r.name()
		if string(name) == CounterExport {
			r.refuse("an export of a reserved name")
		}
		kind, index := r.byte(), r.u32()
		switch {
		case kind == 0:
			index = m.function(r, index)
		case kind == 3 && index >= m.globals:
			r.refuse("global %d is not there", index)
		}
		out = putU32(append(putVector(out, name), kind), index)
	}
	r.end("the exports")
	return putU32(append(putVector(out, []byte(CounterExport)), 3), m.counter())
}

// rewriteElements copies element segments, whose eight kinds are combinations of
// three bits.
func (m *module) rewriteElements() []byte {
	const (
		passive     = 1 // or declarative, with explicit
		explicit    = 2 // names its table, or is declarative
		expressions = 4
	)
	r := m.section(sectionElement)
	n := r.count("element segments", noMost)
	out := putU32(nil, n)
	for range n {
		kind := r.u32()
		if kind > passive|explicit|expressions {
			r.refuse("element segments of kind %d are not known", kind)
		}
		out = putU32(out, kind)
		if kind&passive == 0 {
			if kind&explicit != 0 {
				out = putU32(out, r.u32())
			}
			out = m.constant(out, r)
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
		items := r.count("elements", noMost)
		out = putU32(out, items)
		for range items {
			if kind&expressions != 0 {
				out = m.constant(out, r)
			} else {
				out = putU32(out, m.function(r, r.u32()))
			}
		}
	}
	r.end("the elements")
	return out
}

func (m *module) rewriteData() []byte {
	r := m.section(sectionData)
	n := r.count("data segments", noMost)
	out := putU32(nil, n)
	for range n {
		kind := r.u32()
		out = putU32(out, kind)
		switch kind {
		case 0:
			out = m.constant(out, r)
		case 1:
		case 2:
			out = putU32(out, r.u32())
			out = m.constant(out, r)
		default:
			r.refuse("data segments of kind %d are not known", kind)
		}
		out = putVector(out, r.bytes(r.count("bytes of data", noMost)))
	}
	r.end("the data")
	return out
}

func (m *module) rewriteCode() []byte {
	r := m.section(sectionCode)
	if n := r.count("bodies", m.limits.Functions); n != len(m.functions) {
		r.refuse("it has %d functions and %d bodies", len(m.functions), n)
	}
	var out []byte
	for _, kind := range m.functions {
		size := r.u32()
		if int64(size) > int64(m.limits.FunctionBytes) {
			r.refuse("a function has %d bytes; at most %d are taken", size, m.limits.FunctionBytes)
		}
		out = putVector(out, m.body(r.part(int(size)), m.types[kind]))
	}
	r.end("the code")
	for i := 0; i < len(m.helpers); i++ {
		out = putVector(out, m.helperBody(m.helpers[i]))
	}
	return append(putU32(nil, len(m.functions)+len(m.helpers)), out...)
}
