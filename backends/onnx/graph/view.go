package graph

import (
	"encoding/binary"
	"math"
)

// Step is an operator of a checked model's main graph, for code that recognises what
// a graph computes. Its slices must not be changed.
type Step struct{ n *node }

// Steps returns the operators of the main graph, each after those whose outputs it
// takes. Calls of the model's own functions are replaced by their operators.
func (m *Model) Steps() []Step {
	out := make([]Step, len(m.checked.graph.nodes))
	for i, n := range m.checked.graph.nodes {
		out[i] = Step{n}
	}
	return out
}

// Constants returns the initializers of the main graph by name.
func (m *Model) Constants() map[string]Constant {
	out := make(map[string]Constant, len(m.checked.graph.initializers))
	for _, t := range m.checked.graph.initializers {
		out[t.name] = t.constant()
	}
	return out
}

// Operator returns the type of the operator. Those of ai.onnx.ml begin with "ml.",
// and those of other domains with the domain and a dot.
func (s Step) Operator() string {
	switch s.n.domain {
	case "":
		return s.n.op
	case "ai.onnx.ml":
		return "ml." + s.n.op
	}
	return s.n.domain + "." + s.n.op
}

// Inputs returns the names of the inputs; an empty one is left out.
func (s Step) Inputs() []string { return s.n.inputs }

// Outputs returns the names of the outputs; an empty one is not wanted.
func (s Step) Outputs() []string { return s.n.outputs }

// Has reports whether the operator has an attribute.
func (s Step) Has(name string) bool { return s.n.attribute(name) != nil }

// Ints returns an attribute of integers, or nil.
func (s Step) Ints(name string) []int64 { return s.n.ints(name) }

// Int returns an attribute of one integer, or otherwise.
func (s Step) Int(name string, otherwise int64) int64 { return s.n.int(name, otherwise) }

// Floats returns an attribute of float32, or nil.
func (s Step) Floats(name string) []float32 {
	a := s.n.attribute(name)
	if a == nil {
		return nil
	}
	out := make([]float32, len(a.floats)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(a.floats[4*i:]))
	}
	return out
}

// Float returns an attribute of one float32, or otherwise.
func (s Step) Float(name string, otherwise float32) float32 {
	if v := s.Floats(name); len(v) == 1 {
		return v[0]
	}
	return otherwise
}

// Texts returns an attribute of strings, or nil.
func (s Step) Texts(name string) [][]byte {
	if a := s.n.attribute(name); a != nil {
		return a.strings
	}
	return nil
}

// Text returns an attribute of one string, or otherwise.
func (s Step) Text(name, otherwise string) string {
	if v := s.Texts(name); len(v) == 1 {
		return string(v[0])
	}
	return otherwise
}

// Tensor returns an attribute of one tensor.
func (s Step) Tensor(name string) (Constant, bool) {
	if a := s.n.attribute(name); a != nil && len(a.tensors) == 1 {
		return a.tensors[0].constant(), true
	}
	return Constant{}, false
}

// Constant is a tensor in the model. Its slices must not be changed.
type Constant struct {
	Elem  ElemType
	Dims  []int64
	Texts [][]byte // of strings
	t     *tensor
}

func (t *tensor) constant() Constant {
	return Constant{Elem: t.elem, Dims: t.dims, Texts: t.texts, t: t}
}

// Count returns the number of elements.
func (c Constant) Count() int64 { return c.t.count }

// Numbers returns the elements as float64. It returns false for types other than
// float, double, int64, int32, uint8 and bool, and if an integer is not exact.
func (c Constant) Numbers() ([]float64, bool) {
	const exact = 1 << 53
	size := elemSize(c.Elem)
	if size == 0 || c.t.count*size != int64(len(c.t.raw)) {
		return nil, c.t.count == 0 && size > 0
	}
	out := make([]float64, c.t.count)
	for i := range out {
		b := c.t.raw[int64(i)*size:]
		switch c.Elem {
		case Float:
			out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		case Double:
			out[i] = math.Float64frombits(binary.LittleEndian.Uint64(b))
		case Int64:
			v := int64(binary.LittleEndian.Uint64(b))
			if v < -exact || v > exact {
				return nil, false
			}
			out[i] = float64(v)
		case Int32:
			out[i] = float64(int32(binary.LittleEndian.Uint32(b)))
		case uint8Type, Bool:
			out[i] = float64(b[0])
		default:
			return nil, false
		}
	}
	return out, true
}

const uint8Type ElemType = 2
