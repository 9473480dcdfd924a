package meter

// refuelType is i64 -> i64: it takes the debt and returns a new slice.
var refuelType = functionType{params: []byte{typeI64}, results: []byte{typeI64}}

// rewrite writes the metered module. It encodes every section from decoded values
// and copies nothing unread.
func (m *module) rewrite() []byte {
	refuel := m.typeIndex(refuelType)
	constants := m.readGlobals()
	code := m.rewriteCode() // this adds types and functions
	var out [sections][]byte
	out[sectionImport] = putU32(nil, m.imported+1)
	for _, i := range m.imports {
		out[sectionImport] = putImport(out[sectionImport], i)
	}
	out[sectionImport] = putImport(out[sectionImport], importedFunction{[]byte(ImportModule), []byte(ImportName), refuel})
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
	if m.memory != nil {
		out[sectionMemory] = m.memory.put([]byte{1})
	}
	out[sectionGlobal] = m.writeGlobals(constants)
	out[sectionExport] = m.rewriteExports()
	if s := m.sections[sectionStart]; s != nil {
		out[sectionStart] = putU32(nil, m.function(s, s.u32()))
		s.end("the start section")
	}
	if m.sections[sectionElement] != nil {
		out[sectionElement] = m.rewriteElements()
	}
	m.rewriteData(&out)
	out[sectionType] = putU32(nil, len(m.types))
	for _, t := range m.types {
		out[sectionType] = putVector(putVector(append(out[sectionType], typeFunc), t.params), t.results)
	}
	size := len(header)
	for _, section := range out {
		size += len(section) + 6
	}
	whole := append(make([]byte, 0, size), header...)
	for _, id := range sectionOrder {
		if out[id] != nil {
			whole = putVector(append(whole, id), out[id])
		}
	}
	return whole
}

func putImport(out []byte, i importedFunction) []byte {
	return putU32(append(putVector(putVector(out, i.module), i.name), 0), i.kind)
}

func (y *memory) put(out []byte) []byte {
	if !y.bounded {
		return putU32(append(out, 0), y.least)
	}
	return putU32(putU32(append(out, 1), y.least), y.most)
}

func (m *module) rewriteCode() []byte {
	r := m.section(sectionCode)
	if n := r.count("bodies", m.limits.Functions); n != len(m.functions) {
		r.refuse("it has %d functions and %d bodies", len(m.functions), n)
	}
	var out []byte
	put := func(body []byte) {
		if out = putVector(out, body); len(out) > m.limits.Code {
			r.refuse("its code, metered, has more than %d bytes", m.limits.Code)
		}
	}
	for _, kind := range m.functions {
		size := r.u32()
		if int64(size) > int64(m.limits.FunctionBytes) {
			r.refuse("a function has %d bytes; at most %d are allowed", size, m.limits.FunctionBytes)
		}
		put(m.body(r.part(int(size)), m.types[kind]))
	}
	r.end("the code")
	if !m.changes {
		m.addHelper(helper{key: KeepExport, kind: m.typeIndex(functionType{})})
		m.addHelper(helper{key: ResetExport, kind: m.typeIndex(functionType{})})
	}
	for _, h := range m.helpers {
		put(m.helperBody(h))
	}
	return append(putU32(nil, len(m.functions)+len(m.helpers)), out...)
}
