//go:build cgo

package onnx_test

import (
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// benchRows fills a batch with the benchmark's rows, each number changed by some percent.
func benchRows(b *testing.B, all *sdk.Batch) {
	b.Helper()
	file, err := os.Open(testkit.Testdata("bench", "rows.csv"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	if err != nil {
		b.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range all.Rows() {
		for j, text := range lines[1+i%(len(lines)-1)] {
			v, err := strconv.ParseFloat(text, 32)
			if err != nil {
				b.Fatal(err)
			}
			all.Float32s()[i*len(all.Features())+j] = float32(v * math.Exp(random.NormFloat64()/10))
		}
	}
}

// BenchmarkForest scores the same rows with a forest and with ONNX Runtime, by turns, so that
// whatever else the machine does slows both. It reports the time of each and the ratio.
func BenchmarkForest(b *testing.B) {
	runtime := onnx.New(onnx.Config{Library: testkit.Library(), Probe: onnx.ProbeChild, Log: discard()})
	engines := func(name string) string { return testkit.Testdata("bench", "engines", name+".onnx") }
	for _, c := range []struct{ name, file, output string }{
		{"fused", testkit.Testdata("bench", "models", "forest", "1.0.0", "model.onnx"), "scores"},
		{"skl2onnx", engines("skl2onnx"), "scores"},
		{"lightgbm", engines("lightgbm"), "variable"},
		{"xgboost", engines("xgboost"), "variable"},
	} {
		data, err := os.ReadFile(c.file)
		if err != nil {
			b.Fatal(err)
		}
		m := manifest.Defaults()
		m.ID, m.Output.Name = "m", c.output
		for j := range 30 {
			m.Features = append(m.Features, manifest.Feature{Feature: sdk.Feature{Name: fmt.Sprint("f", j), DType: sdk.Float32}})
		}
		all := sdk.NewBatch(m.SDKFeatures())
		all.Resize(1000)
		benchRows(b, all)
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
