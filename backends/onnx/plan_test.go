package onnx_test

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

func TestScratch(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	for _, file := range os.Args[len(os.Args)-1:] {
		_ = file
	}
	files, _ := os.ReadDir("/tmp/scratch-forest")
	var all []string
	for _, f := range files {
		if len(f.Name()) > 5 && f.Name()[len(f.Name())-5:] == ".onnx" {
			all = append(all, "/tmp/scratch-forest/"+f.Name())
		}
	}
	for _, m := range []string{"cardio-iforest", "cardio-iforest-fused", "breast-cancer-mixed"} {
		all = append(all, testkit.Testdata("models", m, "1.0.0", "model.onnx"))
	}
	all = append(all, testkit.Testdata("bench", "models", "forest", "1.0.0", "model.onnx"), "/work/shared/cases/iforest.onnx", "/work/shared/cases/binary-classifier/lgbm_clf.onnx")
	for _, file := range all {
		a, err := artifact(t, b, file, nil)
		if err != nil {
			a, err = artifact(t, b, file, func(m *manifest.Manifest) { m.Output.Name = "scores" })
		}
		if err != nil {
			t.Logf("%s: %v", file, err)
			continue
		}
		g, err := graph.Check(a.Bytes, graph.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		p, trial, err := onnx.Recognise(a, g)
		if err != nil {
			t.Logf("%s: %v", file, err)
			continue
		}
		s, err := b.Session(a.Bytes, a)
		if err != nil {
			t.Logf("%s: %v", file, err)
			continue
		}
		rows := sdk.NewBatch(a.Manifest.SDKFeatures())
		rows.Resize(64)
		if err := invent(rows, rand.New(rand.NewPCG(1, 2))); err != nil {
			t.Fatal(err)
		}
		missing := make([]bool, len(rows.Features()))
		for i := range missing {
			missing[i] = true
		}
		in := trial.Rows(p, rows, 4000, missing, rand.New(rand.NewPCG(1, 2)))
		want, got := make([]float64, 4000), make([]float64, 4000)
		if err := s.Score(t.Context(), in, want); err != nil {
			t.Logf("%s: %v", file, err)
			continue
		}
		if err := p.Score(t.Context(), in, got); err != nil {
			t.Fatal(err)
		}
		same, worst, scale := 0, 0.0, 0.0
		for i := range want {
			if got[i] == want[i] || math.IsNaN(want[i]) && math.IsNaN(got[i]) {
				same++
			}
			d := math.Abs(got[i] - want[i])
			if d > worst {
				worst = d
			}
			if math.IsNaN(d) != math.IsNaN(want[i]) {
				t.Logf("NaN %v %v", got[i], want[i])
			}
			scale = max(scale, math.Abs(want[i]))
		}
		t.Logf("%s: trees %d steps %d: same bits %d of 4000, worst %.3g of %.3g", file, p.Trees(), p.Steps(), same, worst, scale)
		_ = s.Close()
	}
}
