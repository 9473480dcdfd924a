package hostile

import (
	"path/filepath"
	"runtime"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
)

// Graph is an ONNX graph that means harm.
type Graph struct {
	Name string
	File string
	Code string // of the problem that it is refused for
}

// Graphs are what testdata/make/hostile_graphs.py writes.
func Graphs() []Graph {
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(file), "..", "..", "..", "backends", "onnx", "testdata", "hostile")
	var all []Graph
	for _, group := range []struct {
		code  string
		names []string
	}{
		// They read files of the host's.
		{graph.Function, []string{"function-default-external", "function-default-graph"}},
		{graph.ExternalData, []string{"function-external", "graphs-external"}},
		{graph.Malformed, []string{"sparse-attribute", "sparse-external", "training-external"}},

		// They fold constants that the host keeps.
		{graph.TooLarge, []string{"fold-doubling", "fold-integers", "fold-many", "fold-product", "fold-range"}},

		// They take memory where a proof does not go.
		{graph.DataSized, []string{"branch-constant-of-shape", "branch-expand", "branch-nonzero", "branch-pad", "branch-range", "branch-tile"}},
		{graph.TooLarge, []string{"branch-product", "branch-together", "loop-keeps", "long-texts", "slice-between"}},
		{graph.Unknown, []string{"loop-doubles", "rows-between"}},

		// Two readers take them for different graphs.
		{graph.Malformed, []string{"attribute-tensor-twice", "operator-as-number", "operator-twice", "tensor-twofold", "two-graphs", "later-name"}},
		{graph.Duplicate, []string{"attribute-twice"}},
		{graph.Domain, []string{"function-ml", "function-native"}},
		{graph.TooLarge, []string{"function-recursive"}},
	} {
		for _, name := range group.names {
			all = append(all, Graph{Name: name, File: filepath.Join(dir, name+".onnx"), Code: group.code})
		}
	}
	return all
}
