package stats_test

import (
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/stats"
)

func TestTies(t *testing.T) {
	for _, c := range []struct {
		sorted []float64
		most   int
		value  float64
	}{
		{nil, 0, 0}, {[]float64{4}, 1, 4}, {[]float64{1, 2, 2, 3, 3, 3, 4}, 3, 3}, {[]float64{1, 1, 2, 2}, 2, 1}, {[]float64{1, 2, 2}, 2, 2},
	} {
		if most, value := stats.LargestTie(c.sorted); most != c.most || value != c.value {
			t.Errorf("%v: %d times %v", c.sorted, most, value)
		}
	}
	sorted := []float64{1, 2, 2, 2, 5}
	for x, want := range map[float64]float64{0: 0, 1: 0.1, 1.5: 0.2, 2: 0.5, 3: 0.8, 5: 0.9, 6: 1} {
		if got := stats.Midrank(sorted, x); got != want {
			t.Errorf("at %v: %v, want %v", x, got, want)
		}
	}
}
