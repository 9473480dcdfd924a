package hostile

import (
	"path/filepath"
	"runtime"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
)

// Graph is a hostile ONNX graph.
type Graph struct {
	Name string
	File string
	Code string // of the problem for which it is refused
	Rows bool   // calls of few rows may fit the memory
}

// Graphs returns the graphs that testdata/make/hostile_graphs.py writes.
func Graphs() []Graph {
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(file), "..", "..", "..", "backends", "onnx", "testdata", "hostile")
	var all []Graph
	for _, group := range []struct {
		code  string
		names []string
		rows  bool
	}{
		// They try to read files of the host.
		{graph.Function, []string{"function-default-external", "function-default-graph"}, false},
		{graph.ExternalData, []string{"function-external", "graphs-external"}, false},
		{graph.Malformed, []string{"sparse-attribute", "sparse-external", "training-external"}, false},

		// They make the host fold constants and keep them.
		{graph.TooLarge, []string{"fold-doubling", "fold-integers", "fold-many", "fold-product", "fold-range"}, false},

		// They use memory that a proof does not measure.
		{graph.DataSized, []string{"branch-constant-of-shape", "branch-expand", "branch-nonzero", "branch-pad", "branch-range", "branch-tile"}, false},
		{graph.TooLarge, []string{"branch-product", "branch-together", "loop-keeps", "long-texts", "slice-between"}, true},
		{graph.Unknown, []string{"loop-doubles", "rows-between"}, false},

		// Two readers understand them as different graphs.
		{graph.Malformed, []string{"attribute-tensor-twice", "operator-as-number", "operator-twice", "tensor-twofold", "two-graphs", "later-name"}, false},
		{graph.Duplicate, []string{"attribute-twice"}, false},
		{graph.Domain, []string{"function-ml", "function-native"}, false},
		{graph.TooLarge, []string{"function-recursive"}, false},
	} {
		for _, name := range group.names {
			all = append(all, Graph{Name: name, File: filepath.Join(dir, name+".onnx"), Code: group.code, Rows: group.rows})
		}
	}
	return all
}
