//go:build cgo

package onnx_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/plan"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// forests returns the files of graphs that are recognised.
func forests(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/forests/*.onnx")
	if err != nil || len(files) < 30 {
		t.Fatal(len(files), err)
	}
	for _, name := range []string{"cardio-iforest", "cardio-iforest-fused", "breast-cancer-mixed"} {
		files = append(files, testkit.Testdata("models", name, "1.0.0", "model.onnx"))
	}
	return append(files, testkit.Testdata("bench", "models", "forest", "1.0.0", "model.onnx"))
}

// trialOf returns rows at the thresholds of a plan, and drawn ones; NaN is among them.
func trialOf(t testing.TB, p *plan.Plan, trial *plan.Trial, features []sdk.Feature, rows int, seed uint64) *sdk.Batch {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 2))
	base := sdk.NewBatch(features)
	base.Resize(64)
	if err := invent(base, random); err != nil {
		t.Fatal(err)
	}
	missing := make([]bool, len(features))
	for j := range missing {
		missing[j] = true
	}
	return trial.Rows(p, base, rows, missing, random)
}

// TestForestsScoreLikeTheirGraphs compares plans with ONNX Runtime: graphs of the usual
// exporters, and all modes, aggregates and post transforms.
func TestForestsScoreLikeTheirGraphs(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	const rows = 2000
	for _, file := range forests(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".onnx"), func(t *testing.T) {
			a := artifactOf(t, b, file)
			g, err := graph.Check(a.Bytes, graph.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			p, trial, err := onnx.Recognise(a, g)
			if err != nil {
				t.Fatal(err)
			}
			s, err := b.Session(a.Bytes, a)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			in := trialOf(t, p, trial, a.Manifest.SDKFeatures(), rows, 1)
			want, got := make([]float64, rows), make([]float64, rows)
			if err := errors.Join(s.Score(t.Context(), in, want), p.Score(t.Context(), in, got)); err != nil {
				t.Fatal(err)
			}
			scale, bits, distinct := 0.0, 0, map[float64]bool{}
			for _, v := range want {
				scale, distinct[v] = max(scale, math.Abs(v)), true
			}
			if len(distinct) < 5 && !strings.HasPrefix(filepath.Base(file), "lea") { // a leaf scores all rows the same
				t.Errorf("only %d scores differ: the rows show nothing", len(distinct))
			}
			for i := range want {
				same := got[i] == want[i] || (math.IsNaN(got[i]) && math.IsNaN(want[i]))
				if !same && !(math.Abs(got[i]-want[i]) <= 1e-6*scale) {
					t.Fatalf("row %d scores %v in ONNX Runtime, %v in the plan", i, want[i], got[i])
				}
				if same {
					bits++
				}
				one := make([]float64, 1)
				if err := p.Score(t.Context(), in.Slice(i, i+1), one); err != nil || math.Float64bits(one[0]) != math.Float64bits(got[i]) {
					t.Fatalf("row %d alone scores %v, among others %v: %v", i, one[0], got[i], err)
				}
			}
			t.Logf("%d trees, %d steps: %d of %d scores are the same to the bit", p.Trees(), p.Steps(), bits, rows)
		})
	}
}
