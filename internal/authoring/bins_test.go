package authoring

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/stats"
)

// TestBins checks that hosts accept the bins of any finite training scores, and that
// the bins count the training scores as the file says.
func TestBins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scores := rapid.SliceOfN(rapid.OneOf(
			rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64), rapid.Float64Range(-1, 1), rapid.Map(rapid.IntRange(-3, 3), func(i int) float64 { return float64(i) }),
		), 1, 200).Draw(t, "scores")
		m, files := manifest.Defaults(), map[string][]byte{}
		calibrate(m, scores, 0.1, files)
		edges, proportions := quantileBins(slices.Sorted(slices.Values(scores)))
		read, err := stats.DriftEdges(files[m.DriftBins])
		if err != nil || !slices.Equal(read, edges) {
			t.Fatalf("%s: %v, %v", files[m.DriftBins], read, err)
		}
		c := stats.New(read)
		c.Record(&stats.Call{Scores: scores})
		for i, n := range c.Snapshot().Bins {
			if got := float64(n) / float64(len(scores)); got != proportions[i] {
				t.Errorf("bin %d: %v, want %v", i, got, proportions[i])
			}
		}
	})
}

// TestQuantileBins checks that there are ten bins of equal counts, and fewer if
// scores are equal.
func TestQuantileBins(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(i + 1)
	}
	for name, c := range map[string]struct{ scores, edges, proportions []float64 }{
		"a hundred":     {hundred, []float64{10, 20, 30, 40, 50, 60, 70, 80, 90}, []float64{.1, .1, .1, .1, .1, .1, .1, .1, .1, .1}},
		"all equal":     {[]float64{7, 7, 7}, []float64{7}, []float64{1, 0}},
		"mostly 0":      {[]float64{0, 0, 0, 0, 0, 0, 0, 0, 1, 2}, []float64{0, 1}, []float64{.8, .1, .1}},
		"one":           {[]float64{-5}, []float64{-5}, []float64{1, 0}},
		"fewer than 10": {[]float64{1, 2, 3, 4}, []float64{1, 2, 3, 4}, []float64{.25, .25, .25, .25, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			edges, proportions := quantileBins(c.scores)
			if !slices.Equal(edges, c.edges) || !slices.Equal(proportions, c.proportions) {
				t.Errorf("%v %v, want %v %v", edges, proportions, c.edges, c.proportions)
			}
		})
	}
}
