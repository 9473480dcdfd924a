package plan

import (
	"math"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/forest"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
)

// ensemble is the operator of ai.onnx.ml 5.
func ensemble(r *recogniser, s graph.Step, in []*value) ([]*value, error) {
	if len(in) != 1 || in[0] == nil {
		return nil, unknown("it has %d inputs", len(in))
	}
	v, err := columnsOf(in)
	if err != nil {
		return nil, err
	}
	if !isFloat(v.elem) {
		return nil, unknown("it compares %s", v.elem)
	}
	t := &trees{input: v, double: v.elem == graph.Double, targets: int(min(max(s.Int("n_targets", 0), 0), 65))}
	posts := []string{"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"}
	kinds := []forest.Aggregate{forest.Average, forest.Sum, forest.Min, forest.Max}
	post, kind := s.Int("post_transform", 0), s.Int("aggregate_function", 1)
	if post < 0 || post >= int64(len(posts)) || kind < 0 || kind >= int64(len(kinds)) {
		return nil, unknown("its post transform or aggregate is not known")
	}
	t.post, t.aggregate = posts[post], kinds[kind]
	if err := t.readFlat(s); err != nil {
		return nil, err
	}
	return r.ensembleOf(t, v.elem)
}

// readFlat reads the nodes of ai.onnx.ml 5, where leaves are not nodes.
func (t *trees) readFlat(s graph.Step) error {
	f := flat{yes: s.Ints("nodes_truenodeids"), no: s.Ints("nodes_falsenodeids"), yesLeaf: s.Ints("nodes_trueleafs"), noLeaf: s.Ints("nodes_falseleafs")}
	features, missing := s.Ints("nodes_featureids"), s.Ints("nodes_missing_value_tracks_true")
	f.targets = s.Ints("leaf_targetids")
	var err error
	if f.splits, err = t.flatNumbers(s, "nodes_splits"); err != nil {
		return err
	}
	if f.weights, err = t.flatNumbers(s, "leaf_weights"); err != nil {
		return err
	}
	kinds, _, read := tensorOf(s, "nodes_modes")
	n := len(features)
	if !read || len(kinds) != n || len(f.splits) != n || len(f.yes) != n || len(f.no) != n || len(f.yesLeaf) != n || len(f.noLeaf) != n ||
		(len(missing) != 0 && len(missing) != n) || len(f.targets) != len(f.weights) || n > mostNodes {
		return unknown("its lists differ in length, or are too long")
	}
	members, err := t.members(s, kinds)
	if err != nil {
		return err
	}
	f.nodes = make([]forest.Node, n)
	for i := range f.nodes {
		modes := []forest.Mode{forest.LEQ, forest.LT, forest.GTE, forest.GT, forest.EQ, forest.NEQ, forest.Member}
		if kinds[i] < 0 || int(kinds[i]) >= len(modes) || features[i] < 0 || features[i] >= forest.MaxColumns {
			return unknown("node %d is of mode %v, for feature %d", i, kinds[i], features[i])
		}
		f.nodes[i] = forest.Node{Mode: modes[int(kinds[i])], Feature: int(features[i]), Value: f.splits[i], Members: members[i], MissingTrue: len(missing) > 0 && missing[i] == 1}
		if f.nodes[i].Mode == forest.Member {
			f.nodes[i].Value = 0
		}
	}
	for _, root := range s.Ints("tree_roots") {
		nodes, weights, err := f.tree(root)
		if err != nil {
			return err
		}
		t.nodes, t.weights = append(t.nodes, nodes), append(t.weights, weights)
	}
	return nil
}

func (t *trees) flatNumbers(s graph.Step, name string) ([]float64, error) {
	numbers, elem, ok := tensorOf(s, name)
	if !ok || !isFloat(elem) || (elem == graph.Double) != t.double {
		return nil, unknown("its %s are not of its input's type", name)
	}
	return numbers, nil
}

func tensorOf(s graph.Step, name string) (numbers []float64, elem graph.ElemType, ok bool) {
	c, ok := s.Tensor(name)
	if !ok || c.Elem == graph.String {
		return nil, 0, false
	}
	numbers, ok = c.Numbers()
	return numbers, c.Elem, ok
}

// mostMember is the largest number of a set. ONNX Runtime keeps sets of the whole numbers
// from 1 to 32 as bits. Of sets with others, rows are members that the standard does not
// make so: it reads 1.5 as 1, and fuzzing found a set with 144.
const mostMember = 32

// members returns the sets of the nodes of mode MEMBER, each of which ends with NaN. Where
// there are fewer sets than nodes, ONNX Runtime reads what is not there.
func (t *trees) members(s graph.Step, kinds []float64) ([][]float64, error) {
	var numbers []float64
	if s.Has("membership_values") {
		var err error
		if numbers, err = t.flatNumbers(s, "membership_values"); err != nil {
			return nil, err
		}
	}
	out := make([][]float64, len(kinds))
	for i, k := range kinds {
		if k != float64(forest.Member) {
			continue
		}
		end := slices.IndexFunc(numbers, math.IsNaN)
		if end < 1 {
			return nil, unknown("node %d has no set of numbers", i)
		}
		for _, v := range numbers[:end] {
			if v < 1 || v > mostMember || v != math.Trunc(v) {
				return nil, unknown("the set of node %d has %v: only sets of whole numbers from 1 to %d are known", i, v, mostMember)
			}
		}
		out[i], numbers = numbers[:end:end], numbers[end+1:]
	}
	return out, nil
}

// flat is an ensemble whose leaves are not nodes.
type flat struct {
	nodes           []forest.Node
	yes, no         []int64
	yesLeaf, noLeaf []int64
	splits, weights []float64
	targets         []int64
	taken           int // nodes of all trees, to bound what cycles cost
}

// tree returns the tree below a root.
func (f *flat) tree(root int64) ([]forest.Node, map[int64][]weight, error) {
	if root < 0 || root >= int64(len(f.nodes)) {
		return nil, nil, unknown("root %d is no node", root)
	}
	nodes, weights := []forest.Node{f.nodes[root]}, map[int64][]weight{}
	from := []int64{root} // the nodes' places in f; -1: a leaf
	for at := 0; at < len(nodes); at++ {
		if from[at] < 0 {
			continue
		}
		i := from[at]
		for k, ref := range [2]int64{f.yes[i], f.no[i]} {
			child := len(nodes)
			if k == 0 {
				nodes[at].True = child
			} else {
				nodes[at].False = child
			}
			if f.taken++; f.taken > 4*len(f.nodes)+4 {
				return nil, nil, unknown("its trees share nodes, or have cycles")
			}
			if [2]int64{f.yesLeaf[i], f.noLeaf[i]}[k] == 0 {
				if ref < 0 || ref >= int64(len(f.nodes)) {
					return nil, nil, unknown("node %d has child %d", i, ref)
				}
				nodes, from = append(nodes, f.nodes[ref]), append(from, ref)
				continue
			}
			if ref < 0 || ref >= int64(len(f.weights)) || f.targets[ref] < 0 {
				return nil, nil, unknown("node %d has leaf %d", i, ref)
			}
			nodes, from = append(nodes, forest.Node{Mode: forest.Leaf, Value: f.weights[ref]}), append(from, -1)
			weights[f.targets[ref]] = append(weights[f.targets[ref]], weight{child, f.weights[ref]})
		}
	}
	return nodes, weights, nil
}
