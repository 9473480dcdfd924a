package plan_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/plan"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// features are as many as a graph's only input takes.
func inputs(g *graph.Model) (plan.Inputs, bool) {
	types := map[graph.ElemType]sdk.DType{graph.Float: sdk.Float32, graph.Double: sdk.Float64, graph.Int64: sdk.Int64, graph.String: sdk.String, graph.Bool: sdk.Bool}
	if len(g.Inputs) != 1 || len(g.Inputs[0].Dims) != 2 || g.Inputs[0].Dims[1] < 1 || g.Inputs[0].Dims[1] > 64 || types[g.Inputs[0].Elem] == 0 {
		return plan.Inputs{}, false
	}
	in := plan.Inputs{Names: []string{g.Inputs[0].Name}}
	for j := range g.Inputs[0].Dims[1] {
		in.Features = append(in.Features, sdk.Feature{Name: fmt.Sprint("f", j), DType: types[g.Inputs[0].Elem]})
	}
	return in, true
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// FuzzRecognise reads any bytes. What is recognised computes the same for a row alone and
// among others, and never panics.
func FuzzRecognise(f *testing.F) {
	files, err := filepath.Glob("../testdata/forests/*.onnx")
	if err != nil || len(files) < 30 {
		f.Fatal(len(files), err)
	}
	searches, err := filepath.Glob("../testdata/neighbours/*.onnx")
	if err != nil || len(searches) < 5 {
		f.Fatal(len(searches), err)
	}
	for _, file := range append(files, searches...) {
		f.Add(read(f, file))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := graph.Check(data, graph.Limits{})
		if err != nil {
			return
		}
		in, ok := inputs(g)
		if !ok {
			return
		}
		for _, output := range g.Outputs {
			p, trial, err := plan.Recognise(g, in, plan.Output{Name: output.Name, Column: -1})
			if err != nil {
				if !errors.Is(err, plan.ErrUnknown) {
					t.Fatal(err)
				}
				continue
			}
			base := sdk.NewBatch(in.Features)
			base.Resize(1)
			rows := trial.Rows(p, base, 70, make([]bool, len(in.Features)), rand.New(rand.NewPCG(1, 2)))
			all, one := make([]float64, 70), make([]float64, 1)
			if err := p.Score(t.Context(), rows, all); err != nil {
				t.Fatal(err)
			}
			for i, want := range all {
				if err := p.Score(t.Context(), rows.Slice(i, i+1), one); err != nil || (one[0] != want && (one[0] == one[0] || want == want)) {
					t.Fatalf("row %d scores %v alone, %v among others: %v", i, one[0], want, err)
				}
			}
		}
	})
}

// ExampleRecognise makes a plan of the graph that skl2onnx writes for an IsolationForest.
func ExampleRecognise() {
	data, err := os.ReadFile("../testdata/forests/iforest-scaled.onnx")
	if err != nil {
		panic(err)
	}
	g, err := graph.Check(data, graph.Limits{})
	if err != nil {
		panic(err)
	}
	in, _ := inputs(g)
	p, _, err := plan.Recognise(g, in, plan.Output{Name: "scores", Column: -1})
	if err != nil {
		panic(err)
	}
	fmt.Println(g.Nodes, "operators:", p.Trees(), "trees,", p.Steps(), "steps")
	// Output: 146 operators: 5 trees, 20 steps
}

// BenchmarkRecognise reads the graph that skl2onnx writes for 100 trees, and makes its plan.
func BenchmarkRecognise(b *testing.B) {
	data := read(b, "../../../testdata/models/cardio-iforest/1.0.0/model.onnx")
	g, err := graph.Check(data, graph.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	in, _ := inputs(g)
	for b.Loop() {
		if _, _, err := plan.Recognise(g, in, plan.Output{Name: "scores", Column: -1}); err != nil {
			b.Fatal(err)
		}
	}
}
