package onnx

import (
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/plan"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Bounded reports whether calls of few rows of a graph end soon.
var Bounded = bounded

// Direction returns what the name of an output says of its values.
var Direction = direction

// Recognise returns the plan of a.
func Recognise(a backends.Artifact, g *graph.Model) (*plan.Plan, *plan.Trial, error) {
	bind, err := bindGraph(a.Manifest, g)
	if err != nil {
		return nil, nil, err
	}
	in, out := bind.plan()
	return plan.Recognise(g, in, out)
}

// BindShape takes the shape of the output that is the score, for n rows of so many features.
func BindShape(features int, shape []int64, n int) error {
	b := binding{Output: "variable", Features: make([]sdk.Feature, features)}
	return b.bindShape(shape, n)
}

// Differ compares scores as a comparison of a forest with its graph does.
var Differ = differ

// Compared returns the rows of a comparison, and of its calls, after a call of some rows.
func Compared(rows int, took time.Duration, each int) (n, call int) {
	f := finding{Rows: rows, BatchTime: took}
	return f.compared(each)
}
