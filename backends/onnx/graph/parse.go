package graph

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// fields handles one message: what to do with each field number. A number that
// is absent is unknown, and refused; nil means known and skipped.
type fields map[protowire.Number]func(b []byte, v uint64) error

// each walks over the fields of a message.
func each(what string, b []byte, known fields) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return problem(Malformed, "%s is no valid protobuf: the file is damaged or is no ONNX model", what)
		}
		b = b[n:]
		take, ok := known[number]
		if !ok {
			return problem(UnknownField, "%s has field %d, which ONNX does not define: the file is damaged or from a newer ONNX", what, number)
		}
		var data []byte
		var value uint64
		switch kind {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			value = uint64(v)
		case protowire.Fixed64Type:
			value, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(b)
			if data == nil {
				data = []byte{}
			}
		default:
			n = -1
		}
		if n < 0 {
			return problem(Malformed, "%s ends in the middle of field %d: the file is cut short or damaged", what, number)
		}
		b = b[n:]
		if take == nil {
			continue
		}
		if err := take(data, value); err != nil {
			return err
		}
	}
	return nil
}

type parser struct {
	nodes int
	bytes int64 // of all tensors
}

func text(to *string) func([]byte, uint64) error {
	return func(b []byte, _ uint64) error {
		if !utf8.Valid(b) {
			return problem(Malformed, "a name is not UTF-8")
		}
		*to = string(b)
		return nil
	}
}

func texts(to *[]string) func([]byte, uint64) error {
	return func(b []byte, v uint64) error {
		var s string
		err := text(&s)(b, v)
		*to = append(*to, s)
		return err
	}
}

func (p *parser) model(b []byte) (*model, error) {
	m := &model{opsets: map[string]int64{}}
	err := each("the model", b, fields{
		1: func(_ []byte, v uint64) error { m.irVersion = int64(v); return nil },
		2: text(&m.producer),
		3: nil, 4: nil, 5: nil, 6: nil, 14: nil, 26: nil,
		7: func(b []byte, _ uint64) (err error) {
			if m.graph != nil {
				return problem(Malformed, "the file holds two graphs")
			}
			m.graph, err = p.graph(b, 0)
			return err
		},
		8: func(b []byte, _ uint64) error { return opset(b, m.opsets) },
		20: func([]byte, uint64) error {
			return problem(Malformed, "the model carries training information: export it for inference")
		},
		25: func(b []byte, _ uint64) error {
			f, err := p.function(b)
			m.functions = append(m.functions, f)
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	if m.graph == nil {
		return nil, problem(Malformed, "the file holds no graph: it is no ONNX model")
	}
	return m, nil
}

func opset(b []byte, opsets map[string]int64) error {
	var domain string
	var version uint64
	err := each("an opset import", b, fields{1: text(&domain), 2: func(_ []byte, v uint64) error { version = v; return nil }})
	opsets[domain] = int64(version)
	return err
}

func (p *parser) function(b []byte) (*function, error) {
	f := &function{}
	err := each("a function", b, fields{
		1: text(&f.name), 4: texts(&f.inputs), 5: texts(&f.outputs), 6: nil, 8: nil, 9: nil, 10: text(&f.domain),
		11: nil, 12: nil, 13: nil, 14: nil,
		7: func(b []byte, _ uint64) error { return p.appendNode(b, &f.nodes, 0) },
	})
	return f, err
}

func (p *parser) graph(b []byte, depth int) (*graph, error) {
	if depth > MaxNesting {
		return nil, problem(TooLarge, "graphs are nested more than %d deep", MaxNesting)
	}
	g := &graph{}
	values := func(to *[]Value) func([]byte, uint64) error {
		return func(b []byte, _ uint64) error {
			v, err := valueInfo(b)
			*to = append(*to, v)
			return err
		}
	}
	err := each("a graph", b, fields{
		1: func(b []byte, _ uint64) error { return p.appendNode(b, &g.nodes, depth) },
		2: nil, 10: nil, 13: nil, 14: nil, 16: nil,
		5: func(b []byte, _ uint64) error {
			t, err := p.tensor(b)
			g.initializers = append(g.initializers, t)
			return err
		},
		11: values(&g.inputs),
		12: values(&g.outputs),
		15: func(b []byte, _ uint64) error {
			t, err := p.sparse(b)
			g.initializers = append(g.initializers, t)
			return err
		},
	})
	return g, err
}

func (p *parser) appendNode(b []byte, to *[]*node, depth int) error {
	if p.nodes++; p.nodes > MaxNodes {
		return problem(TooLarge, "the model has more than %d nodes", MaxNodes)
	}
	n := &node{}
	*to = append(*to, n)
	return each("a node", b, fields{
		1: texts(&n.inputs), 2: texts(&n.outputs), 3: text(&n.name), 4: text(&n.op), 7: text(&n.domain),
		5: func(b []byte, _ uint64) error { return p.attribute(b, n, depth) },
		6: nil, 8: nil, 9: nil, 10: nil,
	})
}

func (p *parser) attribute(b []byte, n *node, depth int) error {
	var name string
	var ints []int64
	var tensors []*tensor
	addTensor := func(read func([]byte) (*tensor, error)) func([]byte, uint64) error {
		return func(b []byte, _ uint64) error {
			t, err := read(b)
			tensors = append(tensors, t)
			return err
		}
	}
	addGraph := func(b []byte, _ uint64) error {
		g, err := p.graph(b, depth+1)
		n.graphs = append(n.graphs, g)
		return err
	}
	err := each("an attribute", b, fields{
		1: text(&name),
		2: nil, 4: nil, 7: nil, 9: nil, 13: nil, 14: nil, 15: nil, 20: nil, 21: nil,
		3: func(_ []byte, v uint64) error { ints = append(ints, int64(v)); return nil },
		8: func(b []byte, v uint64) error { return varints(b, v, &ints) },
		5: addTensor(p.tensor), 10: addTensor(p.tensor), 22: addTensor(p.sparse), 23: addTensor(p.sparse),
		6: addGraph, 11: addGraph,
	})
	if err != nil {
		return err
	}
	if ints != nil {
		if n.ints == nil {
			n.ints = map[string][]int64{}
		}
		n.ints[name] = ints
	}
	if len(tensors) > 0 {
		if n.tensors == nil {
			n.tensors = map[string]*tensor{}
		}
		n.tensors[name] = tensors[0]
	}
	return nil
}

// varints takes a repeated integer, packed or one at a time.
func varints(b []byte, v uint64, to *[]int64) error {
	if b == nil {
		*to = append(*to, int64(v))
		return nil
	}
	for len(b) > 0 {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return problem(Malformed, "a list of integers is cut short")
		}
		*to = append(*to, int64(v))
		b = b[n:]
	}
	return nil
}

// smallInts is how many values of an integer tensor are kept for the checks.
const smallInts = 64

func (p *parser) tensor(b []byte) (*tensor, error) {
	t := &tensor{}
	var held struct{ raw, fixed32, fixed64, varint32, int64s, uint64s, strings int64 }
	var raw []byte
	var ints []int64
	packed := func(size int64, to *int64) func([]byte, uint64) error {
		return func(b []byte, _ uint64) error {
			if b == nil {
				*to++
			} else {
				*to += int64(len(b)) / size
			}
			return nil
		}
	}
	counted := func(to *int64, keep *[]int64) func([]byte, uint64) error {
		return func(b []byte, v uint64) error {
			if b == nil {
				*to++
			} else {
				*to += int64(countVarints(b))
			}
			if len(*keep) > smallInts || len(b) > 10*smallInts {
				return nil
			}
			return varints(b, v, keep)
		}
	}
	var ignored []int64
	err := each("a tensor", b, fields{
		1: func(b []byte, v uint64) error { return varints(b, v, &t.dims) },
		2: func(_ []byte, v uint64) error { t.elem = ElemType(v); return nil },
		3: nil, 12: nil, 16: nil,
		4:  packed(4, &held.fixed32),
		5:  counted(&held.varint32, &ints),
		6:  func([]byte, uint64) error { held.strings++; return nil },
		7:  counted(&held.int64s, &ints),
		8:  text(&t.name),
		9:  func(b []byte, _ uint64) error { raw = b; held.raw = int64(len(b)); return nil },
		10: packed(8, &held.fixed64),
		11: counted(&held.uint64s, &ignored),
		13: func([]byte, uint64) error {
			return problem(ExternalData, "%s keeps its values in another file: save the model with everything inside", t.describe())
		},
		14: func(_ []byte, v uint64) error {
			if v != 0 {
				return problem(ExternalData, "%s keeps its values outside the file: save the model with everything inside", t.describe())
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	if err := t.measure(); err != nil {
		return nil, err
	}
	typed := held.fixed32 + held.fixed64 + held.varint32 + held.int64s + held.uint64s + held.strings
	size := elemSize(t.elem)
	if p.bytes += max(t.count*max(size, 1), held.raw); p.bytes > MaxTensorBytes {
		return nil, problem(TooLarge, "the model's tensors need more than %d MiB", MaxTensorBytes>>20)
	}
	switch {
	case held.raw > 0 && size > 0 && held.raw != t.count*size:
		return nil, problem(Malformed, "%s claims %s of %s (%d bytes) but holds %d bytes", t.describe(), dims(t.dims), t.elem, t.count*size, held.raw)
	case held.raw == 0 && size > 0 && t.elem != 14 && t.elem != 15 && typed != t.count:
		return nil, problem(Malformed, "%s claims %s of %s (%d values) but holds %d", t.describe(), dims(t.dims), t.elem, t.count, typed)
	case t.elem == String && held.strings != t.count:
		return nil, problem(Malformed, "%s claims %s strings but holds %d", t.describe(), dims(t.dims), held.strings)
	}
	t.keepInts(raw, ints)
	return t, nil
}

// keepInts remembers the values of a small integer tensor.
func (t *tensor) keepInts(raw []byte, typed []int64) {
	if t.count > smallInts {
		return
	}
	switch {
	case t.elem == Int64 && len(raw) > 0:
		for ; len(raw) >= 8; raw = raw[8:] {
			t.ints = append(t.ints, int64(binary.LittleEndian.Uint64(raw)))
		}
	case t.elem == Int32 && len(raw) > 0:
		for ; len(raw) >= 4; raw = raw[4:] {
			t.ints = append(t.ints, int64(int32(binary.LittleEndian.Uint32(raw))))
		}
	case t.elem == Int64 || t.elem == Int32:
		t.ints = typed
	}
}

// measure sets count and refuses sizes that no model here needs.
func (t *tensor) measure() error {
	if len(t.dims) > MaxRank {
		return problem(TooLarge, "%s has %d dimensions; at most %d are read", t.describe(), len(t.dims), MaxRank)
	}
	count, over := product(t.dims)
	if over || count > MaxElements {
		bytes := float64(elemSize(t.elem))
		for _, d := range t.dims {
			bytes *= math.Abs(float64(d))
		}
		return problem(TooLarge, "%s claims %s of %s (%.0f GB): larger than any model that is served", t.describe(), dims(t.dims), t.elem, bytes/1e9)
	}
	t.count = count
	return nil
}

// product multiplies dimensions; over: it is negative or does not fit.
func product(dims []int64) (count int64, over bool) {
	count = 1
	for _, d := range dims {
		if d < 0 || (d > 0 && count > math.MaxInt64/d) {
			return 0, true
		}
		count *= d
	}
	return count, false
}

func (p *parser) sparse(b []byte) (*tensor, error) {
	t := &tensor{}
	err := each("a sparse tensor", b, fields{
		1: func(b []byte, _ uint64) error {
			values, err := p.tensor(b)
			if err == nil {
				t.name, t.elem = values.name, values.elem
			}
			return err
		},
		2: func(b []byte, _ uint64) error { _, err := p.tensor(b); return err },
		3: func(b []byte, v uint64) error { return varints(b, v, &t.dims) },
	})
	if err != nil {
		return nil, err
	}
	if err := t.measure(); err != nil { // ONNX Runtime makes it dense
		return nil, err
	}
	if p.bytes += t.count * max(elemSize(t.elem), 1); p.bytes > MaxTensorBytes {
		return nil, problem(TooLarge, "the model's tensors need more than %d MiB", MaxTensorBytes>>20)
	}
	return t, nil
}

func (t *tensor) describe() string {
	if t.name == "" {
		return "a tensor"
	}
	return fmt.Sprintf("tensor %.80q", t.name)
}

func dims(d []int64) string {
	if len(d) == 0 {
		return "one value"
	}
	parts := make([]string, len(d))
	for i, v := range d {
		parts[i] = fmt.Sprint(v)
	}
	return strings.Join(parts, " x ")
}

func countVarints(b []byte) int {
	n := 0
	for _, c := range b {
		if c < 0x80 {
			n++
		}
	}
	return n
}
