package stats_test

import (
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/pynomaly/pynomaly-runtime/runtime/stats"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestEachRowOnce checks that each row has one outcome, whatever the calls, and that
// the counts of versions add up.
func TestEachRowOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		counters := []*stats.Counters{stats.New([]float64{0, 1}), stats.New([]float64{0, 1})}
		rows, anomalies := uint64(0), uint64(0)
		for range rapid.IntRange(1, 20).Draw(t, "calls") {
			c := stats.Call{Threshold: 1, Unread: rapid.IntRange(0, 3).Draw(t, "unread")}
			of := counters[rapid.IntRange(0, 1).Draw(t, "version")]
			if rapid.IntRange(0, 4).Draw(t, "lost") == 0 {
				read := rapid.IntRange(0, 5).Draw(t, "read")
				of.Lost(stats.Overloaded, read, c.Unread)
				rows += uint64(read + c.Unread)
				continue
			}
			for i := range rapid.IntRange(0, 30).Draw(t, "rows") {
				v := rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64).Draw(t, "score")
				c.Scores = append(c.Scores, v)
				switch rapid.IntRange(0, 5).Draw(t, "fails") {
				case 0:
					c.Failed, c.Nonfinite = append(c.Failed, sdk.RowError{Row: i}), c.Nonfinite+1
				case 1:
					c.Failed, c.Faults = append(c.Failed, sdk.RowError{Row: i}), c.Faults+1
				case 2:
					c.Failed = append(c.Failed, sdk.RowError{Row: i})
				default:
					if v > 1 {
						anomalies++
					}
				}
			}
			rows += uint64(len(c.Scores) + c.Unread)
			of.Record(&c)
		}
		a, b := counters[0].Snapshot(), counters[1].Snapshot()
		sum := a.Plus(&b)
		total, inBins := sum.Scored+sum.Nonfinite, uint64(0)
		for _, n := range sum.Failed {
			total += n
		}
		for _, n := range sum.Bins {
			inBins += n
		}
		if total != rows || sum.Anomalies != anomalies || inBins != sum.Scored {
			t.Errorf("%d rows in outcomes, %d in bins, %d anomalies; want %d, %d: %+v", total, inBins, sum.Anomalies, rows, anomalies, sum)
		}
		for _, v := range []float64{sum.Sum, sum.Mean} {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				t.Errorf("sum %v, mean %v", sum.Sum, sum.Mean)
			}
		}
	})
}

// TestTogether checks that concurrent callers lose nothing.
func TestTogether(t *testing.T) {
	c := stats.New(stats.DefaultEdges())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				c.Record(&stats.Call{Scores: []float64{1, 2, 3}, Failed: []sdk.RowError{{Row: 1}}, Faults: 1, Threshold: 2})
				c.Lost(stats.Overloaded, 2, 1)
			}
		})
	}
	wg.Wait()
	s := c.Snapshot()
	want := map[string]uint64{"ScoringError": 4000, "Overloaded": 8000, "RowError": 4000}
	if s.Rows != 12000 || s.Scored != 8000 || s.Anomalies != 4000 || s.Sum != 16000 || s.Mean != 2 || !maps.Equal(s.Failed, want) {
		t.Errorf("%+v", s)
	}
}

// TestOtherBins checks that the sum of versions with different bins has no histogram
// but everything else.
func TestOtherBins(t *testing.T) {
	a, b := stats.New([]float64{0}), stats.New([]float64{1})
	a.Record(&stats.Call{Scores: []float64{1}})
	b.Record(&stats.Call{Scores: []float64{3}})
	x, y := a.Snapshot(), b.Snapshot()
	if s := x.Plus(&y); s.Scored != 2 || s.Mean != 2 || len(s.Edges) != 0 || len(s.Bins) != 0 || s.Bins == nil {
		t.Errorf("%+v", s)
	}
	if !slices.Equal(x.Bins, []uint64{0, 1}) {
		t.Errorf("a summand was changed: %v", x.Bins)
	}
}

// TestBadBins checks that invalid bins are refused.
func TestBadBins(t *testing.T) {
	for text, want := range map[string]string{
		"score: {edges: [0, .inf], proportions: [0.5, 0.3, 0.2]}":   "finite",
		"score: {edges: [-.inf, 0], proportions: [0.5, 0.3, 0.2]}":  "finite",
		"score: {edges: [.nan], proportions: [0.5, 0.5]}":           "finite",
		"score: {edges: [1e999], proportions: [0.5, 0.5]}":          "finite",
		"score: {edges: [], proportions: [1]}":                      "needs edges",
		"score: {edges: [1, 1], proportions: [0.5, 0.3, 0.2]}":      "above the edge before",
		"score: {edges: [2, 1], proportions: [0.5, 0.3, 0.2]}":      "above the edge before",
		"score: {edges: [1], proportions: [1]}":                     "one a bin",
		"score: {edges: [1], proportions: [1.5, -0.5]}":             "from 0 to 1",
		"score: {edges: [1], proportions: [0.5, .nan]}":             "finite",
		"features: {x: {edges: [1], proportions: [0.5, 0.5]}}":      "score",
		"score: {edges: [-1, 0, 2], proportions: [0, 0.5, 0.3, 0]}": "",
	} {
		_, err := stats.DriftEdges([]byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// FuzzDriftEdges checks that accepted edges are finite and ascending.
func FuzzDriftEdges(f *testing.F) {
	f.Add([]byte("score: {edges: [-1, 0, 2], proportions: [0, 0.5, 0.3, 0.2]}"))
	f.Add([]byte("score: {edges: [.inf], proportions: [1, 0]}\nfeatures: {x: {categories: [a], proportions: [1]}}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		edges, err := stats.DriftEdges(text)
		if err != nil {
			return
		}
		for i, e := range edges {
			if math.IsNaN(e) || math.IsInf(e, 0) || i > 0 && !(e > edges[i-1]) {
				t.Errorf("%v", edges)
			}
		}
		stats.New(edges).Record(&stats.Call{Scores: []float64{0, math.MaxFloat64, -math.MaxFloat64}})
	})
}
