package graph_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
)

// field encodes a field of a message whose bytes are the concatenated parts.
func field(number protowire.Number, parts ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), slices.Concat(parts...))
}

func numberField(number protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), v)
}

// x is the graphs' input.
var x = field(11, field(1, []byte("v0")), field(2, field(1, numberField(1, 1), field(2, field(1, field(2, []byte("N"))), field(1, numberField(1, 4))))))

// refused checks that a graph is refused because of limits.memory, and that the
// check allocates at most so many bytes.
func refused(t *testing.T, data []byte, memory int64, most uint64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := graph.Check(data, graph.Limits{Memory: memory})
	runtime.ReadMemStats(&after)
	var p *graph.Problem
	if !errors.As(err, &p) || p.Code != graph.TooLarge && p.Code != graph.Unknown {
		t.Errorf("%v; want %s", err, graph.TooLarge)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > most {
		t.Errorf("it allocated %d KiB", took>>10)
	}
}

// TestManySmallThings checks files with many things of one or two bytes each, which
// take a hundred times as much when they are decoded. The memory must stay near
// limits.memory.
func TestManySmallThings(t *testing.T) {
	const size, memory, most = 2 << 20, 1 << 20, 8 << 20
	many := func(one []byte) []byte { return bytes.Repeat(one, size/len(one)) }
	inGraph := func(parts ...[]byte) []byte { return field(7, parts...) }
	inNode := func(parts ...[]byte) []byte { return inGraph(field(1, parts...)) }
	inAttribute := func(parts ...[]byte) []byte { return inNode(field(5, parts...)) }
	inTensor := func(parts ...[]byte) []byte { return inGraph(field(5, parts...)) }
	others := func(one func(name []byte) []byte) (all []byte) { // each with another name
		for i := 0; len(all) < size; i++ {
			all = append(all, one(fmt.Appendf(nil, "%x", i))...)
		}
		return all
	}
	for name, data := range map[string][]byte{
		"opsets":             others(func(name []byte) []byte { return field(8, field(1, name)) }), // compared with each other
		"attributes":         inNode(others(func(name []byte) []byte { return field(5, field(1, name), numberField(20, 2)) })),
		"nodes":              inGraph(many(field(1))),
		"inputs":             inGraph(many(field(11))),
		"outputs":            inGraph(many(field(12))),
		"values":             inGraph(many(field(13))),
		"dimensions":         inGraph(field(11, field(2, field(1, field(2, many(field(1))))))),
		"a node's inputs":    inNode(many(field(1))),
		"a node's outputs":   inNode(many(field(2))),
		"graphs":             inAttribute(many(field(11))),
		"texts":              inAttribute(many(field(9))),
		"numbers":            inAttribute(many(numberField(8, 1))),
		"numbers together":   inAttribute(field(8, many([]byte{1}))),
		"a tensor's numbers": inTensor(field(5, many([]byte{1}))),
		"its dimensions":     inTensor(field(1, many([]byte{1}))),
		"its texts":          inTensor(many(field(6))),
		"functions":          many(field(25)),
		"a function's names": field(25, many(field(4))),
		"metadata":           many(field(14)),
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, data, memory, most)
		})
	}
}

// TestFewBytesThatGrow checks that small graphs cannot make large derived data.
func TestFewBytesThatGrow(t *testing.T) {
	const most = 16 << 20
	numbers := make([]byte, 8*60)
	for i := range 60 {
		numbers[8*i] = byte(i)
	}
	axes := field(5, field(8, []byte("axes")), field(1, []byte{60}), numberField(2, 7), field(9, numbers))
	chain := func(op string, others ...[]byte) (all []byte) {
		for i := range 5000 {
			all = append(all, field(1, field(1, fmt.Appendf(nil, "v%d", i)), slices.Concat(others...), field(2, fmt.Appendf(nil, "v%d", i+1)), field(4, []byte(op)))...)
		}
		return all
	}
	equation := func(text []byte) []byte {
		return field(1, field(1, []byte("v0")), field(2, []byte("v1")), field(4, []byte("Einsum")), field(5, field(1, []byte("equation")), field(4, text), numberField(20, 3)))
	}
	for name, nodes := range map[string][]byte{
		"dimensions":               chain("Unsqueeze", field(1, []byte("axes"))),
		"an equation's dimensions": equation(append([]byte("ab->"), bytes.Repeat([]byte("a"), 1<<20)...)),
		"an equation's terms":      equation(append(bytes.Repeat([]byte(","), 1<<20), "->a"...)),
	} {
		t.Run(name, func(t *testing.T) {
			data := slices.Concat(numberField(1, 8), field(8, numberField(2, 17)), field(7, x, axes, nodes, field(12, field(1, []byte("v1")))))
			refused(t, data, 0, most)
		})
	}
	numbersOnly := field(1, field(1, []byte("axes")), field(1, []byte("axes")), field(2, []byte("v1")), field(4, []byte("Add")))
	data := slices.Concat(numberField(1, 8), field(8, numberField(2, 17)), field(7, x, axes, numbersOnly, field(12, field(1, []byte("v1")))))
	if _, err := graph.Check(data, graph.Limits{}); err != nil {
		t.Error(err)
	}
	var p *graph.Problem
	if _, err := graph.Check(data, graph.Limits{Memory: 1000}); !errors.As(err, &p) || p.Code != graph.TooLarge {
		t.Errorf("%v; want %s", err, graph.TooLarge)
	}
}

// TestInlined checks that inlining is bounded by the bytes of the copies and not
// only by their nodes.
func TestInlined(t *testing.T) {
	const most = 32 << 20
	bigName := bytes.Repeat([]byte("n"), 10_000)
	function := func(nodes ...[]byte) []byte {
		return field(25, field(1, []byte("f")), field(10, []byte("own")), field(4, []byte("i")), field(5, []byte("o")), slices.Concat(nodes...))
	}
	calls := bytes.Repeat(field(1, field(1, []byte("v0")), field(2), field(4, []byte("f")), field(7, []byte("own"))), 5000)
	for name, f := range map[string][]byte{
		"a function's names":  function(field(7, field(1, []byte("i")), field(2, bigName), field(4, []byte("Neg")))),
		"a function's inputs": function(field(7, bytes.Repeat(field(1, []byte("i")), 10_000), field(2, []byte("o")), field(4, []byte("Sum")))),
	} {
		t.Run(name, func(t *testing.T) {
			data := slices.Concat(numberField(1, 8), field(8, numberField(2, 17)), field(8, field(1, []byte("own")), numberField(2, 1)), f, field(7, x, calls, field(12, field(1, []byte("v0")))))
			refused(t, data, 8<<20, most)
		})
	}
}

// TestManyOutputs checks a graph of which each of many nodes makes an output that is
// declared as a vector. If each output were looked up among all nodes, this would not end.
func TestManyOutputs(t *testing.T) {
	const n = 200_000
	vector := field(2, field(1, numberField(1, 1), field(2, field(1, field(2, []byte("N"))))))
	var nodes, outputs []byte
	for i := range n {
		name := fmt.Appendf(nil, "v%d", i+1)
		nodes = append(nodes, field(1, field(1, []byte("v0")), field(2, name), field(4, []byte("Identity")))...)
		outputs = append(outputs, field(12, field(1, name), vector)...)
	}
	in := field(11, field(1, []byte("v0")), vector)
	m, err := graph.Check(slices.Concat(numberField(1, 8), field(8, numberField(2, 17)), field(7, in, nodes, outputs)), graph.Limits{Memory: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	if u, err := m.Unzipped(graph.Limits{}); err != nil || u != m {
		t.Errorf("it is changed: %v", err)
	}
}
