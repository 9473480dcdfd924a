package meter

import (
	"bytes"
	"slices"
)

// The ids of sections.
const (
	sectionCustom = iota
	sectionType
	sectionImport
	sectionFunction
	sectionTable
	sectionMemory
	sectionGlobal
	sectionExport
	sectionStart
	sectionElement
	sectionCode
	sectionData
	sectionDataCount
	sections
)

// sectionOrder is the order in which sections must appear.
var sectionOrder = [...]byte{
	sectionType, sectionImport, sectionFunction, sectionTable, sectionMemory, sectionGlobal, sectionExport,
	sectionStart, sectionElement, sectionDataCount, sectionCode, sectionData,
}

type functionType struct{ params, results []byte }

func (t functionType) equal(u functionType) bool {
	return bytes.Equal(t.params, u.params) && bytes.Equal(t.results, u.results)
}

func (t functionType) values() int { return len(t.params) + len(t.results) }

// table is a table that the module defines.
type table struct {
	kind  byte
	least uint32
	most  uint32
}

// importedFunction is an imported function. Nothing else can be imported.
type importedFunction struct {
	module, name []byte
	kind         uint32 // index of its type
}

// memory is the module's only memory.
type memory struct {
	least, most uint32
	bounded     bool
}

// module is a module, decoded as far as the rewriting needs.
type module struct {
	limits   Limits
	sections [sections]*reader
	names    int // bytes of names so far
	locals   int // of the functions so far
	values   int // passed by the functions so far

	types       []functionType
	ownTypes    uint32 // number of types before any was added
	imports     []importedFunction
	imported    uint32 // number of functions
	functions   []uint32
	tables      []table
	memory      *memory
	globals     uint32
	globalTypes []byte
	mutable     []uint32 // indices of globals
	helpers     []helper
	helperAt    map[string]uint32
	changes     bool // it changes tables or segments when it runs
}

var header = []byte("\x00asm\x01\x00\x00\x00")

// parse reads what the rewriting needs to know before it starts.
func parse(data []byte, limits Limits) *module {
	m := &module{limits: limits, helperAt: map[string]uint32{}}
	r := &reader{data: data}
	if len(data) < len(header) || !bytes.Equal(r.bytes(len(header)), header) {
		refuse("it does not begin like a WebAssembly module of version 1")
	}
	last := -1
	for !r.done() {
		id := r.byte()
		body := r.part(int(r.u32()))
		if id == sectionCustom {
			body.name()
			continue // dropped: their information about functions would be wrong afterwards
		}
		at := slices.Index(sectionOrder[:], id)
		if at < 0 || at <= last {
			body.refuse("section %d is not known or out of order", id)
		}
		last = at
		m.sections[id] = body
	}
	m.readTypes()
	m.readImports()
	m.readFunctions()
	m.readTables()
	m.readMemory()
	return m
}

// section returns a reader of a section, which is empty if the section is missing.
func (m *module) section(id byte) *reader {
	if s := m.sections[id]; s != nil {
		return s
	}
	return &reader{data: []byte{0}} // a vector of length 0
}

func (m *module) readTypes() {
	r := m.section(sectionType)
	values := 0
	for range r.count("types", m.limits.Types) {
		if form := r.byte(); form != typeFunc {
			r.refuse("types of form %#x are not known", form)
		}
		t := functionType{r.valueTypes(m.limits.TypeValues), r.valueTypes(m.limits.TypeValues)}
		if values += t.values(); values > m.limits.AllTypeValues {
			r.refuse("its types have more than %d parameters and results", m.limits.AllTypeValues)
		}
		m.types = append(m.types, t)
	}
	r.end("the types")
	m.ownTypes = uint32(len(m.types))
}

func (m *module) readImports() {
	r := m.section(sectionImport)
	for range r.count("imports", m.limits.Imports) {
		i := importedFunction{module: m.name(r), name: m.name(r)}
		if string(i.module) == ImportModule {
			r.refuse("an import from a reserved module")
		}
		if kind := r.byte(); kind != 0 {
			r.refuse("an import that is not a function: a plugin must define its memory, tables and globals itself")
		}
		if i.kind = r.u32(); i.kind >= m.ownTypes {
			r.refuse("an imported function has a type that does not exist")
		}
		m.imports = append(m.imports, i)
	}
	m.imported = uint32(len(m.imports))
	r.end("the imports")
}

// name reads the name of an import or export.
func (m *module) name(r *reader) []byte {
	name := r.name()
	if m.names += len(name); m.names > m.limits.NameBytes {
		r.refuse("its imports and exports have names of more than %d bytes", m.limits.NameBytes)
	}
	return name
}

func (m *module) readFunctions() {
	r := m.section(sectionFunction)
	for range r.count("functions", m.limits.Functions) {
		t := r.u32()
		if t >= m.ownTypes {
			r.refuse("a function has a type that does not exist")
		}
		m.functions = append(m.functions, t)
	}
	r.end("the functions")
}

// readTables lowers the maximum of every table, because the engine does not bound
// it.
func (m *module) readTables() {
	r := m.section(sectionTable)
	for range r.count("tables", m.limits.Tables) {
		t := table{kind: r.refType()}
		least, most, bounded := r.limits()
		if least > m.limits.TableEntries {
			r.refuse("a table has %d entries; at most %d are allowed", least, m.limits.TableEntries)
		}
		if bounded && most < least {
			r.refuse("a table has a maximum below its minimum")
		}
		t.least, t.most = least, m.limits.TableEntries
		if bounded {
			t.most = min(most, m.limits.TableEntries)
		}
		m.tables = append(m.tables, t)
	}
	r.end("the tables")
}

func (m *module) readMemory() {
	r := m.section(sectionMemory)
	if r.count("memories", 1) == 1 {
		const most = 1 << 16 // pages
		least, limit, bounded := r.limits()
		if least > most || bounded && (limit > most || limit < least) {
			r.refuse("a memory of %d to %d pages", least, limit)
		}
		m.memory = &memory{least, limit, bounded}
	}
	r.end("the memories")
}

// typeIndex returns the index of a type, which it adds if missing.
func (m *module) typeIndex(t functionType) uint32 {
	for i, u := range m.types {
		if t.equal(u) {
			return uint32(i)
		}
	}
	m.types = append(m.types, t)
	return uint32(len(m.types) - 1)
}

// ownFunctions returns the number of functions in the original module.
func (m *module) ownFunctions() uint32 { return m.imported + uint32(len(m.functions)) }

// refuel returns the index of the added import, which follows all others.
func (m *module) refuel() uint32 { return m.imported }

// function returns the index of a function after the rewriting. It refuses an index
// that did not exist before, which would otherwise name an added function.
func (m *module) function(r *reader, i uint32) uint32 {
	if i >= m.ownFunctions() {
		r.refuse("function %d does not exist", i)
	}
	if i >= m.imported {
		return i + 1
	}
	return i
}
