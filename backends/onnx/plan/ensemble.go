package plan

import (
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/forest"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
)

var modes = map[string]forest.Mode{
	"BRANCH_LEQ": forest.LEQ, "BRANCH_LT": forest.LT, "BRANCH_GTE": forest.GTE, "BRANCH_GT": forest.GT, "BRANCH_EQ": forest.EQ, "BRANCH_NEQ": forest.NEQ,
	"LEAF": forest.Leaf,
}

var aggregates = map[string]forest.Aggregate{"SUM": forest.Sum, "AVERAGE": forest.Average, "MIN": forest.Min, "MAX": forest.Max}

// trees is what the operators for tree ensembles have in common.
type trees struct {
	input     *value
	double    bool // comparisons and sums are of float64
	nodes     [][]forest.Node
	weights   []map[int64][]weight // by tree: of the leaves, by target
	targets   int
	aggregate forest.Aggregate
	base      []float64
	post      string
}

type weight struct {
	node  int
	value float64
}

// numbersOf reads an attribute of floats, or the tensor that may take its place
// when inputs are of float64.
func (t *trees) numbersOf(s graph.Step, name string) ([]float64, error) {
	if c, ok := s.Tensor(name + "_as_tensor"); ok && c.Count() > 0 {
		numbers, read := c.Numbers()
		if !read || (c.Elem == graph.Double) != t.double || !isFloat(c.Elem) || len(s.Floats(name)) > 0 {
			return nil, unknown("its %s are not of its input's type", name)
		}
		return numbers, nil
	}
	floats := s.Floats(name)
	out := make([]float64, len(floats))
	for i, f := range floats {
		out[i] = float64(f)
	}
	return out, nil
}

// readTrees reads the nodes of an operator of ai.onnx.ml 1 to 3. The attributes
// of its weights begin with prefix.
func readTrees(s graph.Step, in []*value, prefix string) (*trees, error) {
	if len(in) != 1 || in[0] == nil {
		return nil, unknown("it has %d inputs", len(in))
	}
	v, err := columnsOf(in)
	if err != nil {
		return nil, err
	}
	if !isFloat(v.elem) && v.elem != graph.Int64 {
		return nil, unknown("it compares %s", v.elem)
	}
	t := &trees{input: v, double: v.elem == graph.Double, post: s.Text("post_transform", "NONE")}
	name := s.Text("aggregate_function", "SUM")
	var ok bool
	if t.aggregate, ok = aggregates[name]; !ok {
		return nil, unknown("it aggregates with %.20q", name)
	}
	if t.base, err = t.numbersOf(s, "base_values"); err != nil {
		return nil, err
	}
	places, err := t.readNodes(s)
	if err != nil {
		return nil, err
	}
	return t, t.readWeights(s, prefix, places)
}

// place is where a node stands.
type place struct{ tree, node int }

// id is how a node is named.
type id struct{ tree, node int64 }

func (t *trees) readNodes(s graph.Step) (map[id]place, error) {
	values, err := t.numbersOf(s, "nodes_values")
	if err != nil {
		return nil, err
	}
	treeids, nodeids, features := s.Ints("nodes_treeids"), s.Ints("nodes_nodeids"), s.Ints("nodes_featureids")
	yes, no, names := s.Ints("nodes_truenodeids"), s.Ints("nodes_falsenodeids"), s.Texts("nodes_modes")
	missing := s.Ints("nodes_missing_value_tracks_true")
	n := len(treeids)
	if len(nodeids) != n || len(features) != n || len(values) != n || len(yes) != n || len(no) != n || len(names) != n || (len(missing) != 0 && len(missing) != n) || n > mostNodes {
		return nil, unknown("its lists of nodes differ in length, or are too long")
	}
	places := make(map[id]place, n)
	seen := map[int64]bool{}
	for i, tree := range treeids {
		if i == 0 || tree != treeids[i-1] {
			if seen[tree] {
				return nil, unknown("the nodes of tree %d are not together", tree)
			}
			seen[tree] = true
			t.nodes = append(t.nodes, nil)
		}
		at := len(t.nodes) - 1
		if _, twice := places[id{tree, nodeids[i]}]; twice {
			return nil, unknown("node %d of tree %d is given twice", nodeids[i], tree)
		}
		places[id{tree, nodeids[i]}] = place{at, len(t.nodes[at])}
		mode, ok := modes[string(names[i])]
		if !ok || features[i] < 0 || features[i] >= forest.MaxColumns {
			return nil, unknown("node %d of tree %d is of mode %.20q, for feature %d", nodeids[i], tree, names[i], features[i])
		}
		node := forest.Node{Mode: mode, Feature: int(features[i]), Value: values[i], MissingTrue: len(missing) > 0 && missing[i] == 1}
		if mode == forest.Leaf {
			node = forest.Node{Mode: mode}
		}
		t.nodes[at] = append(t.nodes[at], node)
	}
	for i, tree := range treeids {
		at := places[id{tree, nodeids[i]}]
		node := &t.nodes[at.tree][at.node]
		if node.Mode == forest.Leaf {
			continue
		}
		a, ok1 := places[id{tree, yes[i]}]
		b, ok2 := places[id{tree, no[i]}]
		if !ok1 || !ok2 {
			return nil, unknown("node %d of tree %d has a child that is not there", nodeids[i], tree)
		}
		node.True, node.False = a.node, b.node
	}
	t.weights = make([]map[int64][]weight, len(t.nodes))
	return places, nil
}

func (t *trees) readWeights(s graph.Step, prefix string, places map[id]place) error {
	values, err := t.numbersOf(s, prefix+"_weights")
	if err != nil {
		return err
	}
	ids, nodeids, treeids := s.Ints(prefix+"_ids"), s.Ints(prefix+"_nodeids"), s.Ints(prefix+"_treeids")
	if len(ids) != len(values) || len(nodeids) != len(values) || len(treeids) != len(values) {
		return unknown("its lists of weights differ in length")
	}
	type seat struct {
		place
		target int64
	}
	seen := make(map[seat]bool, len(ids))
	for i, target := range ids {
		at, ok := places[id{treeids[i], nodeids[i]}]
		if !ok || t.nodes[at.tree][at.node].Mode != forest.Leaf || target < 0 || seen[seat{at, target}] {
			return unknown("weight %d is of no leaf, or its second one", i)
		}
		seen[seat{at, target}] = true
		if t.weights[at.tree] == nil {
			t.weights[at.tree] = map[int64][]weight{}
		}
		t.weights[at.tree][target] = append(t.weights[at.tree][target], weight{at.node, values[i]})
	}
	return nil
}

// leaves returns a tree whose leaves have the weights of a target. Every leaf must have
// one, or none counts as 0.
func (t *trees) leaves(at int, target int64, lenient bool) ([]forest.Node, error) {
	nodes := append([]forest.Node(nil), t.nodes[at]...)
	set := 0
	for _, w := range t.weights[at][target] {
		nodes[w.node].Value = w.value
		set++
	}
	if lenient {
		return nodes, nil
	}
	for i := range nodes {
		if nodes[i].Mode == forest.Leaf {
			set--
		}
	}
	if set != 0 {
		return nil, unknown("a leaf of tree %d has no weight", at)
	}
	return nodes, nil
}

// target returns the cell of a target: of its trees' sum and the base value.
func (r *recogniser) target(t *trees, target int64, lenient bool, base float64) (cell, error) {
	out := graph.Float
	if t.double {
		out = graph.Double
	}
	all := make([][]forest.Node, 0, len(t.nodes))
	for at := range t.nodes {
		if lenient && len(t.weights[at][target]) == 0 {
			continue // adds nothing
		}
		nodes, err := t.leaves(at, target, lenient)
		if err != nil {
			return cell{}, err
		}
		all = append(all, nodes)
	}
	if len(all) == 0 {
		return cell{}, unknown("target %d has no tree", target)
	}
	if len(t.nodes) == 1 && base == 0 { // what follows may be computed for each leaf
		only := &tree{nodes: all[0], cells: t.input.cells, elem: t.input.elem, double: t.double}
		table := []float64{}
		for i, n := range only.nodes {
			if n.Mode == forest.Leaf {
				only.leaves = append(only.leaves, i)
				table = append(table, n.Value+0)
			}
		}
		return treeCell(out, term{only, table}), nil
	}
	w := &wood{}
	columns := map[int]int{}
	e := forest.Ensemble{Double: t.double, Aggregate: t.aggregate, Base: base}
	for _, nodes := range all {
		planted, err := r.planted(term{tree: &tree{nodes: nodes, cells: t.input.cells, elem: t.input.elem}}, w, columns)
		if err != nil {
			return cell{}, err
		}
		e.Trees = append(e.Trees, planted)
	}
	at, err := r.grow(w, e)
	return cell{kind: isRegister, at: at}, err
}
