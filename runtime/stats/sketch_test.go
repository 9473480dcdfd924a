package stats_test

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pynomaly/pynomaly-runtime/runtime/stats"
)

// TestSketch checks that every score is in the bin with the next edge above it, that
// bins are less than 1 % wide, and that sketches add up.
func TestSketch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scores := rapid.SliceOfN(rapid.OneOf(rapid.Float64Range(-1e3, 1e3), rapid.Float64Range(-1e-3, 1e-3), rapid.Float64Range(-1e35, 1e35)), 1, 300).Draw(t, "scores")
		half := len(scores) / 2
		all, first, second := stats.New([]float64{0}), stats.New([]float64{0}), stats.New([]float64{0})
		for _, v := range scores {
			all.Record(&stats.Call{Scores: []float64{v}})
		}
		first.Record(&stats.Call{Scores: scores[:half]})
		second.Record(&stats.Call{Scores: scores[half:]})
		s := all.Sketch()
		if sum := first.Sketch().Plus(second.Sketch()); !slices.Equal(sum.Edges, s.Edges) || !slices.Equal(sum.Counts, s.Counts) {
			t.Fatalf("one by one %v, together %v", s, sum)
		}
		counts := make([]uint64, len(s.Edges))
		for _, v := range scores {
			i, exact := slices.BinarySearch(s.Edges, v)
			if exact && v > 0 { // a bin of positive scores ends before its edge
				i++
			}
			if i == len(s.Edges) {
				t.Fatalf("%v is above every bin", v)
			}
			if wide := s.Edges[i] - v; wide > 0.01*math.Abs(v)+1e-38 {
				t.Fatalf("%v is in the bin up to %v", v, s.Edges[i])
			}
			counts[i]++
		}
		if !slices.Equal(counts, s.Counts) {
			t.Fatalf("counted %v, want %v", s.Counts, counts)
		}
		if x := all.Snapshot(); x.Low != slices.Min(scores) || x.High != slices.Max(scores) {
			t.Errorf("from %v to %v", x.Low, x.High)
		}
	})
}

// TestSketchEnds checks that the largest and the smallest numbers have bins.
func TestSketchEnds(t *testing.T) {
	c := stats.New([]float64{0})
	for _, v := range []float64{-math.MaxFloat64, -0x1p128, -0x1p-128, -math.SmallestNonzeroFloat64, math.Copysign(0, -1), 0, 0x1p-129, 0x1p-128, 0x1p128, math.MaxFloat64} {
		c.Record(&stats.Call{Scores: []float64{v}})
	}
	s := c.Sketch()
	if !slices.IsSorted(s.Edges) || !slices.Equal(s.Counts, []uint64{2, 1, 4, 1, 2}) || s.Edges[4] != math.MaxFloat64 {
		t.Errorf("%v", s)
	}
}

func BenchmarkRecord(b *testing.B) {
	c := stats.New(stats.DefaultEdges())
	for _, n := range []int{1, 100, 10000} {
		call := stats.Call{Threshold: 2}
		for i := range n {
			call.Scores = append(call.Scores, math.Sin(float64(i))*5)
		}
		b.Run(map[int]string{1: "one", 100: "hundred", 10000: "many"}[n], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.Record(&call)
			}
		})
	}
}
