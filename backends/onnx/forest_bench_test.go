//go:build cgo

package onnx_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// BenchmarkForest scores the same rows with a forest and with ONNX Runtime, by turns, so that
// whatever else the machine does slows both. It reports the time of each and the ratio.
func BenchmarkForest(b *testing.B) {
	runtime := onnx.New(onnx.Config{Library: testkit.Library(), Probe: onnx.ProbeChild, Log: discard()})
	for _, c := range []struct {
		name, file, output string
		width              int
	}{
		{"fused", testkit.Testdata("bench", "models", "forest", "1.0.0", "model.onnx"), "scores", 30},
		{"skl2onnx", testkit.Testdata("models", "cardio-iforest", "1.0.0", "model.onnx"), "scores", 21},
		{"lightgbm", "testdata/forests/lightgbm.onnx", "variable", 5},
	} {
		data, err := os.ReadFile(c.file)
		if err != nil {
			b.Fatal(err)
		}
		m := manifest.Defaults()
		m.ID, m.Output.Name = "m", c.output
		for j := range c.width {
			m.Features = append(m.Features, manifest.Feature{Feature: sdk.Feature{Name: fmt.Sprint("f", j), DType: sdk.Float32}})
		}
		all := sdk.NewBatch(m.SDKFeatures())
		all.Resize(1000)
		if err := invent(all, rand.New(rand.NewPCG(1, 2))); err != nil {
			b.Fatal(err)
		}
		a := backends.Artifact{Manifest: m, Bytes: data, ProbeRows: all.Slice(0, 8)}
		g, err := graph.Check(data, graph.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		p, _, err := onnx.Recognise(a, g)
		if err != nil {
			b.Fatal(err)
		}
		s, err := runtime.Session(data, a)
		if err != nil {
			b.Fatal(err)
		}
		for _, rows := range []int{1, 1000} {
			b.Run(fmt.Sprintf("%s/rows=%d", c.name, rows), func(b *testing.B) {
				var ours, theirs []float64
				out := make([]float64, rows)
				for i := 0; b.Loop(); i++ {
					in := all.Slice(0, rows)
					if rows == 1 {
						in = all.Slice(i%1000, i%1000+1)
					}
					start := time.Now()
					err := p.Score(b.Context(), in, out)
					mid := time.Now()
					err = errors.Join(err, s.Score(b.Context(), in, out))
					if err != nil {
						b.Fatal(err)
					}
					ours, theirs = append(ours, float64(mid.Sub(start))), append(theirs, float64(time.Since(mid)))
				}
				slices.Sort(ours)
				slices.Sort(theirs)
				n := float64(rows)
				b.ReportMetric(ours[len(ours)/2]/n, "forest-ns/row")
				b.ReportMetric(theirs[len(theirs)/2]/n, "runtime-ns/row")
				b.ReportMetric(theirs[len(theirs)/2]/ours[len(ours)/2], "times")
			})
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
