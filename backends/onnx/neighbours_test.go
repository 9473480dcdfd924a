//go:build cgo

package onnx_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/detectors"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestNeighboursRecognised compares graphs of skl2onnx, in Go and in ONNX Runtime.
func TestNeighboursRecognised(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	for _, c := range []struct {
		name, output string
		worst        float64
	}{
		{"lof", "scores", 0}, {"lof-manhattan", "scores", 0}, {"lof-minkowski", "scores", 1e-6}, {"lof-scaled", "scores", 0}, {"pima-lof", "scores", 0},
		{"lof-double", "scores", 0}, {"lof-manhattan-double", "scores", 0}, {"lof-minkowski-double", "scores", 1e-12}, {"lof-scaled-double", "scores", 0},
		{"lof-clipped", "scores", 0}, {"lof-normalised", "scores", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join("testdata", "neighbours", c.name+".onnx")
			if c.name == "pima-lof" {
				file = testkit.Testdata("models", c.name, "1.0.0", "model.onnx")
			}
			compareNeighbours(t, b, file, c.output, c.worst)
		})
	}
}

// TestCosineStays checks that graphs with products of rows are given back, with the
// reason.
func TestCosineStays(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	for _, name := range []string{"lof-cosine", "lof-cosine-double"} {
		a := artifactOf(t, b, filepath.Join("testdata", "neighbours", name+".onnx"))
		g, err := graph.Check(a.Bytes, graph.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := onnx.Recognise(a, g); err == nil || !strings.Contains(err.Error(), "cosine distances") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFittedRecognised does so with the graphs that this host fits.
func TestFittedRecognised(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	r := rand.New(rand.NewPCG(5, 5))
	for _, features := range []int{1, 6, 30} {
		rows := detectors.Rows{Features: features, Values: make([]float32, 400*features)}
		for i := range rows.Values {
			rows.Values[i] = float32(r.IntN(9)) // with ties
		}
		for _, d := range detectors.All() {
			for _, how := range []string{detectors.DistanceLargest, detectors.DistanceMean, detectors.DistanceMedian} {
				o := detectors.Defaults()
				o.Distance, o.Scale = how, how == detectors.DistanceMedian
				f, err := d.Fit(rows, o)
				if err != nil {
					t.Fatal(err)
				}
				file := filepath.Join(t.TempDir(), "model.onnx")
				if err := os.WriteFile(file, f.Graph, 0o600); err != nil {
					t.Fatal(err)
				}
				worst := 0.0
				if d.Name == "iforest" {
					worst = 1e-6
				}
				t.Run(fmt.Sprintf("%s_%s_%d", d.Name, how, features), func(t *testing.T) {
					compareNeighbours(t, b, file, detectors.Output, worst)
				})
			}
		}
	}
}

// TestFittedTextsRecognised does so with a column of texts.
func TestFittedTextsRecognised(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	texts := []string{"", "blue", "red", "none"} // of which training rows have the first three
	const n = 60
	r := rand.New(rand.NewPCG(6, 6))
	rows := detectors.Rows{Features: 4, Values: make([]float32, 4*n), Columns: []detectors.Column{{Name: "size"}, {Name: "colour", Categories: texts[:3]}}}
	for i := range n {
		rows.Values[4*i] = float32(r.NormFloat64())
		rows.Values[4*i+1+r.IntN(3)] = 1
	}
	for _, d := range detectors.All() {
		t.Run(d.Name, func(t *testing.T) {
			f, err := d.Fit(rows, detectors.Defaults())
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "model.onnx")
			if err := os.WriteFile(file, f.Graph, 0o600); err != nil {
				t.Fatal(err)
			}
			a, err := artifact(t, b, file, func(m *manifest.Manifest) { m.Output.Name = detectors.Output })
			if err != nil {
				t.Fatal(err)
			}
			g, err := graph.Check(a.Bytes, graph.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			p, trial, err := onnx.Recognise(a, g)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			compared := trial.Rows(p, a.ProbeRows, 50, make([]bool, 2), r)
			for _, text := range compared.Column(1).Strings {
				seen[text] = true
			}
			if len(seen) != 3 {
				t.Errorf("the rows of a proof have the texts %v", seen)
			}
			s, err := b.Session(a.Bytes, a)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			in := sdk.NewBatch(a.Manifest.SDKFeatures())
			in.Resize(n)
			for i := range n {
				in.Column(0).Float32s[i], in.Column(1).Strings[i] = float32(r.NormFloat64()), texts[r.IntN(4)]
			}
			want, got := make([]float64, n), make([]float64, n)
			if err := errors.Join(s.Score(t.Context(), in, want), p.Score(t.Context(), in, got)); err != nil {
				t.Fatal(err)
			}
			for i := range n {
				if abs(want[i]-got[i]) > 1e-6 {
					t.Errorf("%v, %q scores %v in ONNX Runtime, and %v in Go", in.Value(i, 0), in.Value(i, 1), want[i], got[i])
				}
			}
		})
	}
}

// TestScoresOfOthersStay scores batches of all sizes at the same time: no score depends on
// the rows of calls before, or beside.
func TestScoresOfOthersStay(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	for _, file := range []string{"neighbours/lof-scaled.onnx", "neighbours/lof-manhattan.onnx", "forests/iforest-scaled.onnx", "forests/iforest-imputed.onnx"} {
		a := artifactOf(t, b, filepath.Join("testdata", file))
		g, err := graph.Check(a.Bytes, graph.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		p, trial, err := onnx.Recognise(a, g)
		if err != nil {
			t.Fatal(err)
		}
		const n = 200
		in := trialOf(t, p, trial, a.Manifest.SDKFeatures(), n, 3) // NaN is among them
		alone := make([]float64, n)
		for i := range n {
			if err := p.Score(t.Context(), in.Slice(i, i+1), alone[i:i+1]); err != nil {
				t.Fatal(err)
			}
		}
		var work sync.WaitGroup
		for w := range 4 {
			work.Go(func() {
				r := rand.New(rand.NewPCG(1, uint64(w)))
				out := make([]float64, n)
				for range 100 {
					from := r.IntN(n)
					to := from + r.IntN(n-from+1)
					if err := p.Score(t.Context(), in.Slice(from, to), out); err != nil {
						t.Error(err)
						return
					}
					for i := from; i < to; i++ {
						if math.Float64bits(out[i-from]) != math.Float64bits(alone[i]) {
							t.Errorf("%s: row %d of %d to %d scores %v, and %v alone", file, i, from, to, out[i-from], alone[i])
							return
						}
					}
				}
			})
		}
		work.Wait()
	}
}

// TestNeighboursAtTheEdges compares searches of odd sizes, for rows with numbers at the
// edges of float32.
func TestNeighboursAtTheEdges(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	r := rand.New(rand.NewPCG(8, 9))
	edges := []float32{0, float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, 1e-39, 1e-30, 1e19, -3e38, math.MaxFloat32, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 16777217}
	for _, c := range []struct{ n, features, k int }{{2, 1, 1}, {33, 1, 32}, {31, 2, 30}, {32, 3, 1}, {65, 4, 64}, {100, 5, 3}, {64, 7, 5}, {95, 8, 94}, {97, 9, 7}, {40, 100, 39}} {
		rows := detectors.Rows{Features: c.features, Values: make([]float32, c.n*c.features)}
		for i := range rows.Values {
			rows.Values[i] = float32(r.NormFloat64())
			if r.IntN(8) == 0 {
				rows.Values[i] = edges[r.IntN(5)]
			}
		}
		graphs := map[string][]byte{}
		for _, d := range detectors.All()[:] {
			if d.Name == "iforest" {
				continue
			}
			o := detectors.Defaults()
			o.Neighbours = c.k
			f, err := d.Fit(rows, o)
			if err != nil {
				t.Fatal(err)
			}
			graphs[d.Name] = f.Graph
		}
		g := graph.NewBuilder("g")
		g.Input("x", graph.Float, -1, int64(c.features))
		scanned(g, c.features, func(b *graph.Builder, sums, out string) { b.Node("Identity", []string{sums}, []string{out}) }, func(body *graph.Builder) {
			body.Node("Abs", []string{"differences"}, []string{"absolute"})
			sumOf(body, "ReduceSum", "absolute", "sums")
		})
		graphs["manhattan"] = g.Bytes()
		for name, data := range graphs {
			t.Run(fmt.Sprintf("%s_%d_%d_%d", name, c.n, c.features, c.k), func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "model.onnx")
				if err := os.WriteFile(file, data, 0o600); err != nil {
					t.Fatal(err)
				}
				a, err := artifact(t, b, file, func(m *manifest.Manifest) {
					if m.Output.Name = detectors.Output; name == "manhattan" {
						m.Output.Name = "score"
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				g, err := graph.Check(a.Bytes, graph.Limits{})
				if err != nil {
					t.Fatal(err)
				}
				p, _, err := onnx.Recognise(a, g)
				if err != nil {
					t.Fatal(err)
				}
				s, err := b.Session(a.Bytes, a)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				const n = 150
				each := max(1, g.Apart)
				in, apart := sdk.NewBatch(a.Manifest.SDKFeatures()), sdk.NewBatch(a.Manifest.SDKFeatures())
				in.Resize(n)
				apart.Resize(n * each)
				for i := range in.Float32s() {
					in.Float32s()[i] = float32(r.NormFloat64())
				}
				for i := range n {
					if i%3 > 0 {
						in.Float32s()[i*c.features+r.IntN(c.features)] = edges[i%len(edges)]
					}
				}
				for i := range n * each {
					apart.CopyRow(i, in, i/each)
				}
				want, got := make([]float64, n*each), make([]float64, n)
				if err := errors.Join(s.Score(t.Context(), apart, want), p.Score(t.Context(), in, got)); err != nil {
					t.Fatal(err)
				}
				for i, v := range got {
					if w := want[i*each]; v != w && !(math.IsNaN(v) && math.IsNaN(w)) && !(math.Abs(v-w) <= 1e-6*math.Abs(w)) {
						t.Errorf("row %d, %v, scores %v in ONNX Runtime, and %v in Go", i, in.Float32s()[i*c.features : (i+1)*c.features][:min(3, c.features)], w, v)
						break
					}
				}
			})
		}
	}
}

// compareNeighbours scores rows near training rows, and drawn ones.
func compareNeighbours(t *testing.T, b *onnx.Backend, file, output string, allowed float64) {
	t.Helper()
	a, err := artifact(t, b, file, func(m *manifest.Manifest) { m.Output.Name = output })
	if err != nil {
		t.Fatal(err)
	}
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
	const n = 2000
	base := sdk.NewBatch(a.Manifest.SDKFeatures())
	base.Resize(50)
	r := rand.New(rand.NewPCG(1, 2))
	if err := invent(base, r); err != nil {
		t.Fatal(err)
	}
	rows := trial.Rows(p, base, n, make([]bool, len(base.Features())), r)
	want, got := make([]float64, n), make([]float64, n)
	// Hosts put each row where ONNX Runtime adds its columns in one order.
	apart := sdk.NewBatch(rows.Features())
	apart.Resize(n * g.Apart)
	for i := range n * g.Apart {
		apart.CopyRow(i, rows, i/g.Apart)
	}
	all := make([]float64, n*g.Apart)
	if err := s.Score(t.Context(), apart, all); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		want[i] = all[i*g.Apart]
	}
	if err := p.Score(t.Context(), rows, got); err != nil {
		t.Fatal(err)
	}
	equal, worst := 0, 0.0
	for i := range want {
		if want[i] == got[i] {
			equal++
		}
		if d := abs(want[i] - got[i]); d > worst*max(1, abs(want[i])) {
			worst = d / max(1, abs(want[i]))
		}
	}
	if worst > allowed {
		t.Errorf("%d of %d scores have the same bits; the largest difference is %.2g", equal, n, worst)
	}
}

func abs(v float64) float64 { return max(v, -v) }
