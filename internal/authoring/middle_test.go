package authoring

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestNth checks that nth finds what sorting finds, for values in many orders.
func TestNth(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, value := range map[string]func(i, n int) float64{
		"random":     func(int, int) float64 { return random.NormFloat64() },
		"ascending":  func(i, _ int) float64 { return float64(i) },
		"descending": func(i, _ int) float64 { return float64(-i) },
		"pipes":      func(i, n int) float64 { return float64(min(i, n-i)) },
		"few":        func(int, int) float64 { return float64(random.IntN(3)) },
		"equal":      func(int, int) float64 { return 7 },
		"steps":      func(i, _ int) float64 { return float64(i % 97) },
	} {
		for _, n := range []int{1, 2, 31, 32, 33, 1000, 4097} {
			values := make([]float64, n)
			for i := range values {
				values[i] = value(i, n)
			}
			sorted := slices.Sorted(slices.Values(values))
			for _, k := range []int{0, (n - 1) / 2, n - 1} {
				if got := nth(slices.Clone(values), k); got != sorted[k] {
					t.Errorf("%s: value %d of %d is %v, want %v", name, k, n, got, sorted[k])
				}
			}
		}
	}
}

// TestMiddles checks the middles of columns of fractions with gaps and without values.
func TestMiddles(t *testing.T) {
	gap := float32(math.NaN())
	rows := sdk.NewBatch([]sdk.Feature{{Name: "a", DType: sdk.Float32}, {Name: "b", DType: sdk.Float32}, {Name: "c", DType: sdk.Float32}})
	rows.Resize(4)
	copy(rows.Float32s(), []float32{
		4, gap, gap,
		1, 7, gap,
		3, gap, gap,
		2, 5, gap,
	})
	want := map[string]any{"a": float32(2), "b": float32(5), "c": 0.0}
	if got := reference(rows); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
