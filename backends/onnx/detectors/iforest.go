package detectors

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
)

// Limits of an isolation forest.
const (
	MaxTrees   = 10_000
	MaxSamples = 1 << 16
)

// IsolationForest fits an isolation forest with scikit-learn's definitions: Liu, Ting
// and Zhou, "Isolation Forest", ICDM 2008. A row's score is 2^(-h/c), where h is its
// mean depth over the trees and c the mean depth of an unsuccessful search among the
// samples of a tree. It lies between 0 and 1; 0.5 is that of an average row.
func IsolationForest(r Rows, o Options) (*Fitted, error) {
	switch {
	case o.Trees < 1 || o.Trees > MaxTrees:
		return nil, fmt.Errorf("--trees is %d: it must be between 1 and %d", o.Trees, MaxTrees)
	case o.Samples < 2 || o.Samples > MaxSamples:
		return nil, fmt.Errorf("--samples is %d: it must be between 2 and %d", o.Samples, MaxSamples)
	}
	r, scale, err := prepare(r, o)
	if err != nil {
		return nil, err
	}
	samples := min(o.Samples, r.Len())
	f := &forest{rows: r, depth: int(math.Ceil(math.Log2(float64(samples))))}
	order := make([]int, r.Len())
	for i := range order {
		order[i] = i
	}
	for tree := range o.Trees {
		f.random = rand.New(rand.NewPCG(o.Seed, uint64(tree)))
		for i := range samples { // the first rows of a shuffle
			j := i + f.random.IntN(len(order)-i)
			order[i], order[j] = order[j], order[i]
		}
		f.tree, f.next = int64(tree), 0
		f.grow(append([]int(nil), order[:samples]...), 0)
	}
	return &Fitted{Graph: f.graph(scale, o.Trees, pathLength(samples)), Keeps: "the values between which its thresholds lie"}, nil
}

// pathLength returns the mean depth of an unsuccessful search in a binary tree of n
// rows.
func pathLength(n int) float64 {
	switch {
	case n <= 1:
		return 0
	case n == 2:
		return 1
	}
	const euler = 0.57721566490153286
	m := float64(n - 1)
	return 2*(math.Log(m)+euler) - 2*m/float64(n)
}

// forest collects the nodes of all trees as TreeEnsembleRegressor lists them.
type forest struct {
	rows   Rows
	depth  int // of a tree, at most
	random *rand.Rand
	tree   int64
	next   int64 // node of the tree

	trees, nodes, features, yes, no []int64
	thresholds                      []float32
	modes                           []string
	leafTrees, leafNodes            []int64
	weights                         []float32
}

// grow adds the node of the given samples, and those below it, and returns its number.
func (f *forest) grow(samples []int, depth int) int64 {
	id := f.next
	f.next++
	at := len(f.nodes)
	f.trees, f.nodes = append(f.trees, f.tree), append(f.nodes, id)
	f.features, f.thresholds = append(f.features, 0), append(f.thresholds, 0)
	f.yes, f.no, f.modes = append(f.yes, 0), append(f.no, 0), append(f.modes, "LEAF")
	feature, threshold, ok := f.split(samples, depth)
	if !ok {
		f.leafTrees, f.leafNodes = append(f.leafTrees, f.tree), append(f.leafNodes, id)
		f.weights = append(f.weights, float32(float64(depth)+pathLength(len(samples))))
		return id
	}
	f.features[at], f.thresholds[at], f.modes[at] = int64(feature), threshold, "BRANCH_LEQ"
	low := 0
	for i, s := range samples {
		if f.rows.Row(s)[feature] <= threshold {
			samples[low], samples[i] = samples[i], samples[low]
			low++
		}
	}
	f.yes[at] = f.grow(samples[:low], depth+1)
	f.no[at] = f.grow(samples[low:], depth+1)
	return id
}

// split chooses a feature that varies among the samples, and a threshold between its
// least and greatest value. There is none if the node is a leaf.
func (f *forest) split(samples []int, depth int) (feature int, threshold float32, ok bool) {
	if depth >= f.depth || len(samples) < 2 {
		return 0, 0, false
	}
	candidates := f.random.Perm(f.rows.Features)
	for _, j := range candidates {
		low, high := f.rows.Row(samples[0])[j], f.rows.Row(samples[0])[j]
		for _, s := range samples[1:] {
			v := f.rows.Row(s)[j]
			low, high = min(low, v), max(high, v)
		}
		const same = 1e-7 // scikit-learn's FEATURE_THRESHOLD
		if float64(high) <= float64(low)+same {
			continue
		}
		at := float32(float64(low) + f.random.Float64()*(float64(high)-float64(low)))
		if at >= high {
			at = low
		}
		return j, at, true
	}
	return 0, 0, false
}

func (f *forest) graph(scale *scaler, trees int, path float64) []byte {
	b, rows := begin("isolation_forest", f.rows, scale)
	b.NodeML("TreeEnsembleRegressor", []string{rows}, []string{own("depths")},
		graph.Attribute{Name: "n_targets", Value: int64(1)},
		graph.Attribute{Name: "nodes_treeids", Value: f.trees},
		graph.Attribute{Name: "nodes_nodeids", Value: f.nodes},
		graph.Attribute{Name: "nodes_featureids", Value: f.features},
		graph.Attribute{Name: "nodes_values", Value: f.thresholds},
		graph.Attribute{Name: "nodes_modes", Value: f.modes},
		graph.Attribute{Name: "nodes_truenodeids", Value: f.yes},
		graph.Attribute{Name: "nodes_falsenodeids", Value: f.no},
		graph.Attribute{Name: "target_treeids", Value: f.leafTrees},
		graph.Attribute{Name: "target_nodeids", Value: f.leafNodes},
		graph.Attribute{Name: "target_ids", Value: make([]int64, len(f.weights))},
		graph.Attribute{Name: "target_weights", Value: f.weights},
	)
	b.Floats(own("scale"), []float32{float32(-float64(trees) * path)}, 1)
	b.Floats(own("two"), []float32{2}, 1)
	b.Node("Div", []string{own("depths"), own("scale")}, []string{own("exponent")})
	b.Node("Pow", []string{own("two"), own("exponent")}, []string{Output})
	b.Output(Output, graph.Float, -1, 1)
	return b.Bytes()
}
