package graph

import "google.golang.org/protobuf/encoding/protowire"

const (
	bytesType  = protowire.BytesType
	varintType = protowire.VarintType
)

// The decoded sizes of small things. They bound files with many of them.
const (
	bytesOfNode      = 256
	bytesOfAttribute = 256
	bytesOfTensor    = 192
	bytesOfValue     = 192
	bytesOfText      = 24
	bytesOfName      = 40
	bytesOfGraph     = 256
)

type parser struct {
	nodes   int
	bytes   int64 // of what was read
	beside  int64 // the part of bytes that is memory in addition to the file
	most    int64 // the limit of beside
	longest int   // string among the constants
}

func (p *parser) model(b []byte) (*model, error) {
	out := &model{}
	m := &message{what: "the model", rest: b, many: many(8, 14, 20, 25, 26)}
	for m.next() {
		switch m.number {
		case 1:
			out.irVersion = m.varint()
		case 2:
			out.producer = m.text()
		case 3:
			out.producer2 = m.text()
		case 4, 6:
			m.skip(bytesType)
		case 5:
			m.skip(varintType)
		case 7:
			out.graph, m.err = p.graph(m.message("a graph", graphMany), 0)
		case 8:
			out.opsets = p.opset(m, out.opsets)
		case 14:
			p.pair(m)
		case 20:
			m.fail(problem(Malformed, "the model carries training information: export it for inference"))
		case 25:
			var f *function
			f, m.err = p.function(m.message("a function", many(4, 5, 6, 7, 9, 11, 12, 14)))
			out.functions = append(out.functions, f)
		case 26:
			m.fail(problem(Malformed, "the model is split over devices: export it for one"))
		default:
			m.unknown()
		}
	}
	if m.err == nil && out.graph == nil {
		m.fail(problem(Malformed, "the file has no graph: it is not an ONNX model"))
	}
	return out, m.err
}

// pair reads metadata and drops it.
func (p *parser) pair(m *message) {
	m.spend(p, bytesOfName) // also bounds the time
	e := m.message("an entry of metadata", 0)
	for e.next() {
		if e.number > 2 {
			e.unknown()
		}
		e.skip(bytesType)
	}
	if m.err == nil {
		m.err = e.err
	}
}

func (p *parser) opset(m *message, opsets []opset) []opset {
	m.spend(p, bytesOfText)
	var o opset
	e := m.message("an opset import", 0)
	for e.next() {
		switch e.number {
		case 1:
			o.domain = standard(e.text())
		case 2:
			o.version = e.varint()
		default:
			e.unknown()
		}
	}
	if m.err == nil {
		m.err = e.err
	}
	for _, other := range opsets {
		if other == o { // skl2onnx sometimes writes it twice
			return opsets
		}
		if other.domain == o.domain {
			m.fail(problem(Duplicate, "domain %.80q has two opsets, %d and %d", o.domain, other.version, o.version))
		}
	}
	if len(opsets) == MaxOpsets {
		m.fail(problem(TooLarge, "more than %d opsets are imported", MaxOpsets))
	}
	return append(opsets, o)
}

// standard maps ONNX's own domain, which has two spellings, to one of them.
func standard(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

func (p *parser) texts(m *message, to *[]string) {
	m.spend(p, bytesOfName)
	*to = append(*to, m.text())
}

func (p *parser) function(m *message) (*function, error) {
	f := &function{}
	m.spend(p, bytesOfNode)
	for m.next() {
		switch m.number {
		case 1:
			f.name = m.text()
		case 4:
			p.texts(m, &f.inputs)
		case 5:
			p.texts(m, &f.outputs)
		case 6, 11:
			// The defaults of these attributes may hold anything that an attribute
			// can.
			m.skip(bytesType)
			f.attributes = true
		case 7:
			m.err = p.node(m, &f.nodes, 0)
		case 8:
			m.skip(bytesType)
		case 9:
			f.opsets = p.opset(m, f.opsets)
		case 10:
			f.domain = standard(m.text())
		case 12:
			_, m.err = p.value(m.message("a value", many(4)))
		case 13:
			if m.text() != "" {
				m.fail(problem(Function, "function %.80q has overloads: %s", f.name, inlineHint))
			}
		case 14:
			p.pair(m)
		default:
			m.unknown()
		}
	}
	return f, m.err
}

var graphMany = many(1, 5, 11, 12, 13, 14, 15, 16)

func (p *parser) graph(m *message, depth int) (*graph, error) {
	if depth > MaxNesting {
		return nil, problem(TooLarge, "graphs are nested more than %d deep", MaxNesting)
	}
	g := &graph{}
	m.spend(p, bytesOfGraph)
	values := func(to *[]*value) {
		var v *value
		v, m.err = p.value(m.message("a value", many(4)))
		*to = append(*to, v)
	}
	for m.next() {
		switch m.number {
		case 1:
			m.err = p.node(m, &g.nodes, depth)
		case 2:
			g.name = m.text()
		case 5:
			var t *tensor
			t, m.err = p.tensor(m.message("a tensor", tensorMany))
			g.initializers = append(g.initializers, t)
		case 10:
			m.skip(bytesType)
		case 11:
			values(&g.inputs)
		case 12:
			values(&g.outputs)
		case 13:
			// The declared types of inner values are checked for their form and
			// dropped: ONNX Runtime infers them.
			_, m.err = p.value(m.message("a value", many(4)))
		case 14:
			p.annotation(m)
		case 15:
			m.fail(problem(Malformed, "the model has a sparse initializer: save it as a dense one"))
		case 16:
			p.pair(m)
		default:
			m.unknown()
		}
	}
	return g, m.err
}

// annotation reads a graph's annotation of a quantised tensor and drops it.
func (p *parser) annotation(m *message) {
	e := m.message("an annotation", many(2))
	for e.next() {
		switch e.number {
		case 1:
			e.skip(bytesType)
		case 2:
			p.pair(e)
		default:
			e.unknown()
		}
	}
	if m.err == nil {
		m.err = e.err
	}
}

func (p *parser) node(parent *message, to *[]*node, depth int) error {
	m := parent.message("a node", many(1, 2, 5, 9, 10))
	if p.nodes++; p.nodes > MaxNodes {
		return problem(TooLarge, "the model has more than %d nodes", MaxNodes)
	}
	n := &node{}
	*to = append(*to, n)
	m.spend(p, bytesOfNode)
	for m.next() {
		switch m.number {
		case 1:
			p.texts(m, &n.inputs)
		case 2:
			p.texts(m, &n.outputs)
		case 3:
			n.name = m.text()
		case 4:
			n.op = m.text()
		case 5:
			if len(n.attributes) == MaxAttributes { // each is compared with all others
				return problem(TooLarge, "%s has more than %d attributes", n.describe(), MaxAttributes)
			}
			var a *attribute
			a, m.err = p.attribute(m.message("an attribute", many(7, 8, 9, 10, 11, 15, 23)), depth)
			n.attributes = append(n.attributes, a)
		case 6:
			m.skip(bytesType)
		case 7:
			n.domain = standard(m.text())
		case 8:
			if m.text() != "" {
				m.fail(problem(Function, "%s asks for an overload of a function: %s", n.describe(), inlineHint))
			}
		case 9:
			p.pair(m)
		case 10:
			m.fail(problem(Malformed, "%s is split over devices: export the model for one", n.describe()))
		default:
			m.unknown()
		}
	}
	if m.err != nil {
		return m.err
	}
	return n.uniqueAttributes()
}

func (n *node) uniqueAttributes() error {
	for i, a := range n.attributes {
		for _, b := range n.attributes[:i] {
			if a.name == b.name {
				return problem(Duplicate, "%s has attribute %.80q twice", n.describe(), a.name)
			}
		}
	}
	return nil
}
