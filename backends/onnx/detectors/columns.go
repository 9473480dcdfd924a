package detectors

import (
	"fmt"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
)

// own returns the name of a value that is no input of the graph: inputs are named as
// people name columns.
func own(name string) string { return "pynomaly:" + name }

// begin begins a graph and returns the name of the rows that the detector sees.
func begin(name string, r Rows, s *scaler) (b *graph.Builder, rows string) {
	b = graph.NewBuilder(name)
	rows = Input
	if r.Columns == nil {
		b.Input(Input, graph.Float, -1, int64(r.Features))
	} else {
		rows = own("rows")
		b.Node("Concat", inputs(b, r.Columns), []string{rows}, graph.Attribute{Name: "axis", Value: int64(1)})
	}
	if s == nil {
		return b, rows
	}
	b.NodeML("Scaler", []string{rows}, []string{own("scaled")}, graph.Attribute{Name: "offset", Value: s.offset}, graph.Attribute{Name: "scale", Value: s.factor})
	return b, own("scaled")
}

// inputs adds an input per column, and returns the names of their features.
func inputs(b *graph.Builder, columns []Column) (parts []string) {
	b.Ints(own("of column"), []int64{1}, 1)
	for j, c := range columns {
		if c.Categories == nil {
			b.Input(c.Name, graph.Float, -1, 1)
			parts = append(parts, c.Name)
			continue
		}
		b.Input(c.Name, graph.String, -1, 1)
		each, flat := own(fmt.Sprintf("categories %d", j)), own(fmt.Sprintf("one-hot %d", j))
		// A text that is none of the categories is zero in all of them.
		b.NodeML("OneHotEncoder", []string{c.Name}, []string{each}, graph.Attribute{Name: "cats_strings", Value: c.Categories}, graph.Attribute{Name: "zeros", Value: int64(1)})
		b.Node("Squeeze", []string{each, own("of column")}, []string{flat})
		parts = append(parts, flat)
	}
	return parts
}

// numbers says for each feature whether it is a number and not a category.
func (r Rows) numbers() []bool {
	out := make([]bool, 0, r.Features)
	for _, c := range r.Columns {
		for range c.Categories {
			out = append(out, false)
		}
		if c.Categories == nil {
			out = append(out, true)
		}
	}
	for len(out) < r.Features {
		out = append(out, true)
	}
	return out
}
