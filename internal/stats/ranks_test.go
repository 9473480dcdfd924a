package stats_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/stats"
)

// TestRanks checks that Ranks counts as the plain search does, at the values, beside
// them and far from them.
func TestRanks(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	draw := func(n int, value func() float64) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = value()
		}
		slices.Sort(out)
		return out
	}
	for name, sorted := range map[string][]float64{
		"none":      {},
		"one":       {3},
		"equal":     {2, 2, 2, 2, 2, 2, 2, 2, 2},
		"zeros":     {math.Copysign(0, -1), 0, 0, 1},
		"tiny":      {0, 0, 5e-324, 5e-324, 1e-323},
		"wide":      {-1.7e308, -1, 0, 1, 1.7e308},
		"far":       append(draw(1000, random.NormFloat64), 1e300),
		"normal":    draw(5000, random.NormFloat64),
		"ties":      draw(5000, func() float64 { return float64(random.IntN(50)) / 7 }),
		"two lumps": draw(3000, func() float64 { return float64(random.IntN(2)) + 1e-12*random.NormFloat64() }),
		"many":      draw(300_000, random.ExpFloat64),
	} {
		r := stats.NewRanks(sorted)
		at := []float64{0, math.Copysign(0, -1), 1, -1, math.Inf(1), math.Inf(-1), math.NaN(), math.MaxFloat64, -math.MaxFloat64}
		for range 2000 {
			at = append(at, random.NormFloat64())
			if len(sorted) > 0 {
				v := sorted[random.IntN(len(sorted))]
				at = append(at, v, math.Nextafter(v, math.Inf(1)), math.Nextafter(v, math.Inf(-1)))
			}
		}
		for _, x := range at {
			if got, want := r.AtMost(x), stats.CountAtMost(sorted, x); got != want {
				t.Fatalf("%s: %d values are at most %v, want %d", name, got, x, want)
			}
			if got, want := r.Below(x), stats.CountBelow(sorted, x); got != want {
				t.Fatalf("%s: %d values are below %v, want %d", name, got, x, want)
			}
		}
	}
}
