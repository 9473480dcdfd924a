package graph

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Builder makes an ONNX file. Its methods append in the order of their calls; nodes
// must be added in the order in which they run.
type Builder struct{ g graph }

// The versions that built files declare. Releases of ONNX Runtime from 1.13 on, and
// other runtimes of 2022 and later, read them.
const (
	builtIR     = 8
	builtOpset  = 17
	builtML     = 3
	builtDomain = "ai.onnx.ml"
)

// NewBuilder returns a builder of an empty graph.
func NewBuilder(name string) *Builder { return &Builder{g: graph{name: name}} }

// Input declares an input tensor. A dimension of -1 may have any size.
func (b *Builder) Input(name string, elem ElemType, dims ...int64) {
	b.g.inputs = append(b.g.inputs, tensorValue(name, elem, dims))
}

// Output declares an output tensor, as Input does.
func (b *Builder) Output(name string, elem ElemType, dims ...int64) {
	b.g.outputs = append(b.g.outputs, tensorValue(name, elem, dims))
}

func tensorValue(name string, elem ElemType, dims []int64) *value {
	t := &typ{kind: tensorKind, elem: elem, hasShape: true}
	for _, d := range dims {
		t.dims = append(t.dims, dim{size: d})
	}
	return &value{name: name, typ: t}
}

// Floats adds a constant.
func (b *Builder) Floats(name string, v []float32, dims ...int64) {
	t := &tensor{name: name, elem: Float, dims: dims, raw: make([]byte, 0, 4*len(v))}
	for _, x := range v {
		t.raw = binary.LittleEndian.AppendUint32(t.raw, math.Float32bits(x))
	}
	b.g.initializers = append(b.g.initializers, t)
}

// Ints adds a constant.
func (b *Builder) Ints(name string, v []int64, dims ...int64) {
	t := &tensor{name: name, elem: Int64, dims: dims, raw: make([]byte, 0, 8*len(v))}
	for _, x := range v {
		t.raw = binary.LittleEndian.AppendUint64(t.raw, uint64(x))
	}
	b.g.initializers = append(b.g.initializers, t)
}

// Attribute is an attribute of a node. Value is an int64, a float32, a string, a slice
// of one of these, or a *Builder for a graph.
type Attribute struct {
	Name  string
	Value any
}

// Node adds an operator of ONNX.
func (b *Builder) Node(op string, inputs, outputs []string, attributes ...Attribute) {
	b.node("", op, inputs, outputs, attributes)
}

// NodeML adds an operator of ONNX-ML.
func (b *Builder) NodeML(op string, inputs, outputs []string, attributes ...Attribute) {
	b.node(builtDomain, op, inputs, outputs, attributes)
}

func (b *Builder) node(domain, op string, inputs, outputs []string, attributes []Attribute) {
	n := &node{op: op, domain: domain, inputs: inputs, outputs: outputs}
	for _, a := range attributes {
		n.attributes = append(n.attributes, a.encode())
	}
	b.g.nodes = append(b.g.nodes, n)
}

func (a Attribute) encode() *attribute {
	out := &attribute{name: a.Name}
	floats := func(v ...float32) {
		out.floats = []byte{}
		for _, x := range v {
			out.floats = binary.LittleEndian.AppendUint32(out.floats, math.Float32bits(x))
		}
	}
	texts := func(v ...string) {
		for _, x := range v {
			out.strings = append(out.strings, []byte(x))
		}
	}
	switch v := a.Value.(type) {
	case int64:
		out.kind, out.ints = attrInt, []int64{v}
	case []int64:
		out.kind, out.ints = attrInts, v
	case float32:
		out.kind = attrFloat
		floats(v)
	case []float32:
		out.kind = attrFloats
		floats(v...)
	case string:
		out.kind = attrString
		texts(v)
	case []string:
		out.kind = attrStrings
		texts(v...)
	case *Builder:
		out.kind, out.graphs = attrGraph, []*graph{&v.g}
	default:
		panic(fmt.Sprintf("attribute %s: %T is no value of an attribute", a.Name, a.Value))
	}
	return out
}

// Bytes returns the file. Equal calls give equal bytes.
func (b *Builder) Bytes() []byte {
	w := &writer{}
	w.model(&model{irVersion: builtIR, producer: "pynomaly-runtime", graph: &b.g, opsets: []opset{{"", builtOpset}, {builtDomain, builtML}}})
	return w.b
}
