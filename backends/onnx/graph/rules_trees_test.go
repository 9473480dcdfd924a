package graph_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
)

// TestCycles checks that trees are refused if a node is below itself, in both forms in
// which graphs write trees, and that nodes which share a child are not.
func TestCycles(t *testing.T) {
	flat := func(yes, no []int64) (string, []graph.Attribute) {
		return "TreeEnsemble", []graph.Attribute{
			{Name: "nodes_featureids", Value: make([]int64, 3)}, {Name: "nodes_truenodeids", Value: yes}, {Name: "nodes_falsenodeids", Value: no},
			{Name: "nodes_trueleafs", Value: []int64{0, 0, 1}}, {Name: "nodes_falseleafs", Value: []int64{0, 1, 1}},
		}
	}
	old := func(yes, no []int64) (string, []graph.Attribute) {
		return "TreeEnsembleRegressor", []graph.Attribute{
			{Name: "nodes_treeids", Value: make([]int64, 5)}, {Name: "nodes_nodeids", Value: []int64{0, 1, 2, 3, 4}},
			{Name: "nodes_modes", Value: []string{"BRANCH_LEQ", "BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF"}},
			{Name: "nodes_truenodeids", Value: append(yes, 0, 0)}, {Name: "nodes_falsenodeids", Value: append(no, 0, 0)},
		}
	}
	for _, c := range []struct {
		name    string
		write   func(yes, no []int64) (string, []graph.Attribute)
		yes, no []int64
		cyclic  bool
	}{
		{"flat", flat, []int64{1, 2, 0}, []int64{2, 1, 1}, false},
		{"flat, its own child", flat, []int64{1, 1, 0}, []int64{2, 1, 1}, true},
		{"flat, the root below", flat, []int64{1, 0, 0}, []int64{2, 1, 1}, true},
		{"flat, lists that do not fit", flat, []int64{1, 1}, []int64{2, 1, 1}, false},
		{"flat, children beyond", flat, []int64{1, 99, 0}, []int64{-7, 1, 1}, false},
		{"shared", old, []int64{1, 3, 3}, []int64{2, 2, 4}, false},
		{"its own child", old, []int64{1, 3, 3}, []int64{2, 1, 4}, true},
		{"each other", old, []int64{1, 2, 1}, []int64{2, 3, 4}, true},
		{"children beyond", old, []int64{1, 99, -1}, []int64{2, 3, 4}, false},
	} {
		b := graph.NewBuilder("g")
		b.Input("x", graph.Float, -1, 1)
		op, attributes := c.write(c.yes, c.no)
		b.NodeML(op, []string{"x"}, []string{"y"}, attributes...)
		b.Output("y", graph.Float, -1, 1)
		_, err := graph.Check(b.Bytes(), graph.Limits{})
		var p *graph.Problem
		if c.cyclic != (errors.As(err, &p) && p.Code == graph.Malformed && strings.Contains(err.Error(), "below itself")) || (!c.cyclic && err != nil) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
