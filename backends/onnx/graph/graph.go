// Package graph reads ONNX models (protobuf) and decides whether ONNX Runtime may
// load them. It bounds every size and refuses what it does not understand.
// Model.Encode writes a new file from what was checked, so that ONNX Runtime reads
// nothing that the check has not.
//
// The package runs no model and does not need ONNX Runtime.
package graph

import "fmt"

// Limits of every file.
const (
	MaxFileBytes   = 1 << 30
	MaxNodes       = 500_000
	MaxNesting     = 16 // graphs inside attributes of nodes
	MaxElements    = 1 << 28
	MaxTensorBytes = 1 << 30
	MaxLoopTrips   = 1 << 20
	MaxRank        = 16
	MaxAttributes  = 256 // of a node
	MaxOpsets      = 256 // of the model, or of a function
)

// ElemType is ONNX's TensorProto.DataType.
type ElemType int32

// The element types that this package handles by name.
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

// elemSize returns the number of bytes of one element, or 0 if it is a fraction of a
// byte or varies.
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

// Model is a checked file.
type Model struct {
	IRVersion int64
	Producer  string
	Opsets    map[string]int64
	Inputs    []Value // without initializers
	Outputs   []Value
	Nodes     int
	Operators map[string]int // how many nodes of each type
	Classes   []string       // the labels of its last classifier, in the order of its columns
	Zipped    []string       // the outputs whose ZipMap Unzipped has left out
	// Packet is a number of rows in whose multiples ONNX Runtime computes each row the
	// same; 1: in any number. Apart is how many rows apart rows must be for it; 1: they
	// may stand anywhere.
	Packet, Apart int

	checked *model
}

// Problem is a reason why a model must not be served. Code identifies the kind.
type Problem struct {
	Code    string
	Message string
}

// Error returns the message.
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
	Unknown      = "unknown_size"
	Duplicate    = "duplicate_name"
	Function     = "function"
)

func problem(code, format string, args ...any) *Problem {
	return &Problem{Code: code, Message: fmt.Sprintf(format, args...)}
}

// The parts of a file that are written again. Documentation, metadata and
// annotations of inner values are read and dropped.

type model struct {
	irVersion           int64
	producer, producer2 string // name and version
	opsets              []opset
	graph               *graph
	functions           []*function
}

type opset struct {
	domain  string
	version int64
}

type function struct {
	name, domain    string
	inputs, outputs []string
	attributes      bool // it takes attributes
	opsets          []opset
	nodes           []*node
}

type graph struct {
	name         string
	nodes        []*node
	initializers []*tensor
	inputs       []*value
	outputs      []*value
}

type value struct {
	name string
	typ  *typ // nil: not declared
}

// typ is the type of a value. kind is one of the kinds below.
type typ struct {
	kind     string
	elem     ElemType // of a tensor; the key of a map
	hasShape bool
	dims     []dim
	of       *typ // of a sequence, an optional value, and the values of a map
}

const (
	sequenceKind = "a sequence"
	mapKind      = "a map"
	optionalKind = "an optional value"
	noKind       = "a value of no type"
)

// dim is a dimension: its size, or -1 and its name, which may be empty.
type dim struct {
	size int64
	name string
}

func (v *value) public() Value {
	out := Value{Name: v.name, Kind: noKind}
	if v.typ == nil {
		return out
	}
	if out.Kind = v.typ.kind; out.Kind != tensorKind {
		return out
	}
	out.Elem, out.HasShape = v.typ.elem, v.typ.hasShape
	for _, d := range v.typ.dims {
		out.Dims = append(out.Dims, d.size)
	}
	return out
}

type node struct {
	name, op, domain string
	inputs, outputs  []string
	attributes       []*attribute
}

// The types of attributes (AttributeProto.AttributeType).
const (
	attrFloat   = 1
	attrInt     = 2
	attrString  = 3
	attrTensor  = 4
	attrGraph   = 5
	attrFloats  = 6
	attrInts    = 7
	attrStrings = 8
	attrTensors = 9
	attrGraphs  = 10
	attrType    = 13
	attrTypes   = 14
)

// attribute holds its values in the list for its kind. A single value is a list of
// one.
type attribute struct {
	name    string
	kind    int64
	floats  []byte // four bytes each
	ints    []int64
	strings [][]byte
	tensors []*tensor
	graphs  []*graph
	types   []*typ
}

func (n *node) input(i int) string {
	if i < len(n.inputs) {
		return n.inputs[i]
	}
	return ""
}

func (n *node) attribute(name string) *attribute {
	for _, a := range n.attributes {
		if a.name == name {
			return a
		}
	}
	return nil
}

// ints returns an attribute of integers, or nil if there is none.
func (n *node) ints(name string) []int64 {
	if a := n.attribute(name); a != nil {
		return a.ints
	}
	return nil
}

// int returns an attribute of one integer, or otherwise if there is none.
func (n *node) int(name string, otherwise int64) int64 {
	if v := n.ints(name); len(v) == 1 {
		return v[0]
	}
	return otherwise
}

// describe names the node for a message.
func (n *node) describe() string {
	op := n.op
	if n.domain != "" {
		op = n.domain + "." + op
	}
	if n.name == "" {
		if len(n.outputs) > 0 {
			return fmt.Sprintf("operator %.80s (of output %.80q)", op, n.outputs[0])
		}
		return fmt.Sprintf("operator %.80s", op)
	}
	return fmt.Sprintf("operator %.80s (node %.80q)", op, n.name)
}

// tensor holds a constant's values as little-endian bytes or as strings.
type tensor struct {
	name  string
	elem  ElemType
	dims  []int64
	count int64
	raw   []byte
	texts [][]byte
}
