package graph

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// payload maps an attribute's type to the field that holds its values.
var payload = map[int64]protowire.Number{
	attrFloat: 2, attrInt: 3, attrString: 4, attrTensor: 5, attrGraph: 6, attrFloats: 7, attrInts: 8,
	attrStrings: 9, attrTensors: 10, attrGraphs: 11, attrType: 14, attrTypes: 15,
}

func (p *parser) attribute(m *message, depth int) (*attribute, error) {
	a := &attribute{}
	m.spend(p, bytesOfAttribute)
	for m.next() {
		switch m.number {
		case 1:
			a.name = m.text()
		case 2:
			a.floats = binary.LittleEndian.AppendUint32(nil, math.Float32bits(m.float()))
		case 3:
			a.ints = []int64{m.varint()}
		case 4:
			m.spend(p, bytesOfText)
			a.strings = [][]byte{m.bytes()}
			p.longest = max(p.longest, len(m.data))
		case 9:
			m.texts(p, &a.strings)
		case 5, 10:
			var t *tensor
			t, m.err = p.tensor(m.message("a tensor", tensorMany))
			a.tensors = append(a.tensors, t)
		case 6, 11:
			var g *graph
			g, m.err = p.graph(m.message("a graph", graphMany), depth+1)
			a.graphs = append(a.graphs, g)
		case 7:
			m.fixed(p, 4, &a.floats)
		case 8:
			m.varints(p, &a.ints)
		case 13:
			m.skip(bytesType)
		case 14, 15:
			var t *typ
			t, m.err = p.typ(m.message("a type", 0), 0)
			a.types = append(a.types, t)
		case 20:
			a.kind = m.varint()
		case 21:
			if m.text() != "" {
				m.fail(problem(Function, "attribute %.80q takes its value from a function's attribute: %s", a.name, inlineHint))
			}
		case 22, 23:
			m.fail(problem(Malformed, "attribute %.80q holds a sparse tensor: save it as a dense one", a.name))
		default:
			m.unknown()
		}
	}
	if m.err != nil {
		return nil, m.err
	}
	return a, a.matches(m)
}

// matches refuses an attribute whose values are not of its declared type, and adds
// the zero that some writers omit.
func (a *attribute) matches(m *message) error {
	field, ok := payload[a.kind]
	if !ok {
		return problem(Malformed, "attribute %.80q is of type %d, which is not supported", a.name, a.kind)
	}
	for _, other := range payload {
		if other != field && m.has(other) {
			return problem(Malformed, "attribute %.80q has values that are not of its declared type", a.name)
		}
	}
	if m.has(field) {
		return nil
	}
	switch a.kind {
	case attrFloat:
		a.floats = make([]byte, 4)
	case attrInt:
		a.ints = []int64{0}
	case attrString:
		a.strings = [][]byte{nil}
	case attrTensor, attrGraph, attrType:
		return problem(Malformed, "attribute %.80q has no value", a.name)
	}
	return nil
}

// value reads a ValueInfoProto.
func (p *parser) value(m *message) (*value, error) {
	v := &value{}
	m.spend(p, bytesOfValue)
	for m.next() {
		switch m.number {
		case 1:
			v.name = m.text()
		case 2:
			v.typ, m.err = p.typ(m.message("a type", 0), 0)
		case 3:
			m.skip(bytesType)
		case 4:
			p.pair(m)
		default:
			m.unknown()
		}
	}
	return v, m.err
}

func (p *parser) typ(m *message, depth int) (*typ, error) {
	if depth > MaxNesting {
		return nil, problem(TooLarge, "types are nested more than %d deep", MaxNesting)
	}
	t := &typ{}
	m.spend(p, bytesOfValue)
	is := func(kind string) {
		if t.kind != "" {
			m.fail(problem(Malformed, "a value has two types"))
		}
		t.kind = kind
	}
	for m.next() {
		switch m.number {
		case 1:
			is(tensorKind)
			p.tensorType(m, t)
		case 4, 9:
			is(map[protowire.Number]string{4: sequenceKind, 9: optionalKind}[m.number])
			p.holder(m, t, 1, depth)
		case 5:
			is(mapKind)
			p.holder(m, t, 2, depth)
		case 6:
			m.skip(bytesType)
		case 7, 8:
			m.fail(problem(Malformed, "a value is opaque or sparse: such values are not supported"))
		default:
			m.unknown()
		}
	}
	if m.err != nil || t.kind == "" {
		return nil, m.err
	}
	return t, nil
}

func (p *parser) tensorType(parent *message, t *typ) {
	m := parent.message("a tensor type", 0)
	for m.next() {
		switch m.number {
		case 1:
			t.elem = ElemType(m.varint())
		case 2:
			t.hasShape = true
			shape := m.message("a shape", many(1))
			for shape.next() {
				if shape.number != 1 {
					shape.unknown()
					break
				}
				p.dimension(shape, t)
			}
			m.err = shape.err
		default:
			m.unknown()
		}
	}
	if parent.err == nil {
		parent.err = m.err
	}
}

func (p *parser) dimension(parent *message, t *typ) {
	d := dim{size: -1}
	m := parent.message("a dimension", 0)
	m.spend(p, bytesOfText)
	if len(t.dims) == MaxRank {
		m.fail(problem(TooLarge, "a value has more than %d dimensions", MaxRank))
	}
	for m.next() {
		switch m.number {
		case 1:
			d.size = max(m.varint(), -1)
		case 2:
			d.name = m.text()
		case 3:
			m.skip(bytesType)
		default:
			m.unknown()
		}
	}
	switch {
	case m.has(1) && m.has(2):
		m.fail(problem(Malformed, "a dimension has a size and a name"))
	case d.size > MaxElements:
		m.fail(problem(TooLarge, "a value has a dimension of %d", d.size))
	}
	t.dims = append(t.dims, d)
	if parent.err == nil {
		parent.err = m.err
	}
}

// holder reads the element type of a sequence, an optional value or a map; of is the
// number of the field that holds it.
func (p *parser) holder(parent *message, t *typ, of protowire.Number, depth int) {
	m := parent.message("a type", 0)
	for m.next() {
		switch m.number {
		case of:
			t.of, m.err = p.typ(m.message("a type", 0), depth+1)
		case 1:
			t.elem = ElemType(m.varint())
		default:
			m.unknown()
		}
	}
	if m.err == nil && t.of == nil {
		m.fail(problem(Malformed, "a type has no element type"))
	}
	if parent.err == nil {
		parent.err = m.err
	}
}
