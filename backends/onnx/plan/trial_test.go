package plan_test

import (
	"math/rand/v2"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/plan"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestTrialsAreNearTrainingRows checks that a proof sees training rows, also if what is
// searched for is computed of the features.
func TestTrialsAreNearTrainingRows(t *testing.T) {
	for name, far := range map[string]float64{
		"lof": 0, "lof-double": 0, "lof-scaled": 1e-5, "lof-scaled-double": 1e-12, "lof-clipped": 1e-5, "lof-normalised": 1e-6,
	} {
		g, err := graph.Check(read(t, "../testdata/neighbours/"+name+".onnx"), graph.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		in, _ := inputs(g)
		p, trial, err := plan.Recognise(g, in, plan.Output{Name: "scores", Column: -1})
		if err != nil {
			t.Fatal(err)
		}
		const n = 800
		base := sdk.NewBatch(in.Features)
		base.Resize(64)
		r := rand.New(rand.NewPCG(1, 2))
		for i := range base.Float32s() {
			base.Float32s()[i] = float32(r.NormFloat64())
		}
		for i := range base.Float64s() {
			base.Float64s()[i] = r.NormFloat64()
		}
		found := 0
		for _, d := range plan.Distances(p, trial.Rows(p, base, n, make([]bool, len(base.Features())), r)) {
			if d <= far {
				found++
			}
		}
		if found < n/16 { // half of the rows are made of training rows, and a quarter of these of one
			t.Errorf("%s: %d of %d rows are training rows", name, found, n)
		}
	}
}
