// Package graph reads ONNX models (protobuf) far enough to decide whether ONNX
// Runtime may be given them: with bounds on every size, refusing what it does
// not understand.
//
// It does not execute anything and does not need ONNX Runtime.
package graph

import "fmt"

// Limits of what is read at all.
const (
	MaxFileBytes   = 1 << 30
	MaxNodes       = 500_000
	MaxNesting     = 16 // graphs inside attributes of nodes
	MaxElements    = 1 << 28
	MaxTensorBytes = 1 << 30
	MaxLoopTrips   = 1 << 20
	MaxRank        = 16
)

// ElemType is ONNX's TensorProto.DataType.
type ElemType int32

// The element types that matter here.
const (
	Float  ElemType = 1
	Int32  ElemType = 6
	Int64  ElemType = 7
	String ElemType = 8
	Bool   ElemType = 9
	Double ElemType = 11
)

var elemNames = map[ElemType]string{
	1: "float", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
	10: "float16", 11: "double", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
}

// String returns ONNX's name of the type.
func (e ElemType) String() string {
	if n, ok := elemNames[e]; ok {
		return n
	}
	return fmt.Sprintf("type %d", int32(e))
}

// elemSize is the number of bytes of one element, 0 where it is not whole or
// not fixed.
func elemSize(e ElemType) int64 {
	switch e {
	case 2, 3, 9, 17, 18, 19, 20:
		return 1
	case 4, 5, 10, 16:
		return 2
	case 1, 6, 12:
		return 4
	case 7, 11, 13, 14:
		return 8
	case 15:
		return 16
	}
	return 0
}

// Value is an input or output of a graph.
type Value struct {
	Name     string
	Kind     string // "tensor", or what it is instead
	Elem     ElemType
	HasShape bool
	Dims     []int64 // -1: any
}

// String formats the value as "scores: tensor(float)[?,1]".
func (v Value) String() string {
	if v.Kind != tensorKind {
		return v.Name + ": " + v.Kind
	}
	s := fmt.Sprintf("%s: tensor(%s)", v.Name, v.Elem)
	if !v.HasShape {
		return s
	}
	s += "["
	for i, d := range v.Dims {
		if i > 0 {
			s += ","
		}
		if d < 0 {
			s += "?"
		} else {
			s += fmt.Sprint(d)
		}
	}
	return s + "]"
}

const tensorKind = "tensor"

// IsTensor reports whether the value is a dense tensor.
func (v Value) IsTensor() bool { return v.Kind == tensorKind }

// Model is what a checked file says about itself.
type Model struct {
	IRVersion int64
	Producer  string
	Opsets    map[string]int64
	Inputs    []Value // without initialisers
	Outputs   []Value
	Nodes     int
	Operators map[string]int // how many nodes of each type
}

// Problem is a reason why a model must not be served. Code tells reasons apart.
type Problem struct {
	Code    string
	Message string
}

// Error is the message.
func (p *Problem) Error() string { return p.Message }

// The codes of problems.
const (
	Malformed    = "malformed"
	TooLarge     = "too_large"
	ExternalData = "external_data"
	UnknownField = "unknown_field"
	Domain       = "domain"
	DataSized    = "data_dependent_size"
	Unbounded    = "unbounded_loop"
	Duplicate    = "duplicate_name"
)

func problem(code, format string, args ...any) *Problem {
	return &Problem{Code: code, Message: fmt.Sprintf(format, args...)}
}

// internal form of what was parsed

type model struct {
	irVersion int64
	producer  string
	opsets    map[string]int64
	graph     *graph
	functions []*function
}

type function struct {
	name, domain    string
	inputs, outputs []string
	nodes           []*node
}

type graph struct {
	nodes        []*node
	initializers []*tensor
	inputs       []Value
	outputs      []Value
}

type node struct {
	name, op, domain string
	inputs, outputs  []string
	ints             map[string][]int64 // integer attributes
	tensors          map[string]*tensor // tensor attributes
	graphs           []*graph
}

func (n *node) input(i int) string {
	if i < len(n.inputs) {
		return n.inputs[i]
	}
	return ""
}

// describe names the node in a message.
func (n *node) describe() string {
	op := n.op
	if n.domain != "" && n.domain != "ai.onnx" {
		op = n.domain + "." + op
	}
	if n.name == "" {
		return "operator " + op
	}
	return fmt.Sprintf("operator %s (node %.80q)", op, n.name)
}

type tensor struct {
	name  string
	elem  ElemType
	dims  []int64
	count int64
	ints  []int64 // the values of a small int64 or int32 tensor
}
