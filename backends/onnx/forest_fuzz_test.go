//go:build cgo

package onnx_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// FuzzForestLikeRuntime changes bytes of ensembles. What ONNX Runtime and the recogniser
// both take must score the same.
func FuzzForestLikeRuntime(f *testing.F) {
	b := onnx.New(onnx.Config{Library: testkit.Library(), Probe: onnx.ProbeChild, Log: discard()})
	if err := b.Err(); err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"mode-leq", "mode-neq", "aggregate-sum", "aggregate-min", "aggregate-average", "posts-softmax", "lightgbm-kinds", "lightgbm-three", "xgboost-two", "five", "boosted", "double"} {
		data, err := os.ReadFile("testdata/forests/" + name + ".onnx")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, uint32(0), byte(0))
		for k := range uint32(6) {
			f.Add(data, (k*7919+1)%uint32(len(data)), byte(1+k))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, at uint32, by byte) {
		if len(data) == 0 {
			return
		}
		changed := append([]byte(nil), data...)
		changed[at%uint32(len(data))] += by
		g, err := graph.Check(changed, graph.Limits{})
		if err != nil || len(g.Inputs) != 1 || len(g.Inputs[0].Dims) != 2 || g.Inputs[0].Dims[1] < 1 || g.Inputs[0].Dims[1] > 64 || len(g.Outputs) == 0 {
			return
		}
		m := manifest.Defaults()
		m.ID, m.Output.Name = "m", g.Outputs[0].Name
		types := map[graph.ElemType]sdk.DType{graph.Float: sdk.Float32, graph.Double: sdk.Float64}
		for j := range g.Inputs[0].Dims[1] {
			m.Features = append(m.Features, manifest.Feature{Feature: sdk.Feature{Name: fmt.Sprint("f", j), DType: types[g.Inputs[0].Elem]}})
		}
		a := backends.Artifact{Manifest: m, Bytes: changed}
		p, trial, err := onnx.Recognise(a, g)
		if err != nil {
			return
		}
		a.ProbeRows = sdk.NewBatch(m.SDKFeatures())
		a.ProbeRows.Resize(8)
		if err := invent(a.ProbeRows, rand.New(rand.NewPCG(1, 2))); err != nil {
			t.Fatal(err)
		}
		s, err := b.Session(g.Encode(), a)
		if err != nil {
			return // it says what is wrong; only a forest that nobody proves is served without it
		}
		defer s.Close()
		const rows = 300
		in := trial.Rows(p, a.ProbeRows, rows, make([]bool, len(m.Features)), rand.New(rand.NewPCG(uint64(at), 3)))
		want, got := make([]float64, rows), make([]float64, rows)
		if err := errors.Join(s.Score(t.Context(), in, want), p.Score(t.Context(), in, got)); err != nil {
			t.Fatal(err)
		}
		scale := 0.0
		for _, v := range want {
			if !math.IsInf(v, 0) {
				scale = max(scale, math.Abs(v))
			}
		}
		for i := range want {
			same := want[i] == got[i] || (math.IsNaN(want[i]) && math.IsNaN(got[i])) || math.Abs(want[i]-got[i]) <= 2e-6*scale
			if !same {
				t.Fatalf("row %d scores %v in ONNX Runtime and %v in the plan", i, want[i], got[i])
			}
		}
	})
}
