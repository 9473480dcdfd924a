package authoring

import (
	"cmp"
	"math"
	"runtime"
	"slices"
	"sync"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// middleNumbers returns the middle of the values of each feature, without gaps, and of two
// the smaller, in the feature's type. It is nil for a feature without values, and if the
// batch is not a matrix of fractions. All processors share the features.
func middleNumbers(rows *sdk.Batch) []any {
	n := len(rows.Features())
	out := make([]any, n)
	workers := min(runtime.GOMAXPROCS(0), n)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for j := w; j < n; j += workers {
				switch rows.Dense() {
				case sdk.Float32:
					out[j] = middleOf(rows.Float32s(), j, n)
				case sdk.Float64:
					out[j] = middleOf(rows.Float64s(), j, n)
				}
			}
		})
	}
	all.Wait()
	return out
}

// middleOf returns the middle of every n-th value from index from on, or nil.
func middleOf[T float32 | float64](all []T, from, n int) any {
	values := make([]T, 0, len(all)/n+1)
	for i := from; i < len(all); i += n {
		if v := all[i]; !math.IsNaN(float64(v)) { // gaps are NaN
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return nil
	}
	return nth(values, (len(values)-1)/2)
}

// nth returns the value that slices.Sort would put at index n. It reorders the values.
func nth[T cmp.Ordered](values []T, n int) T {
	const most = 64 // parts; more are for orders of values that make this slow
	for range most {
		if len(values) < 32 {
			break
		}
		low, high := part(values)
		switch {
		case n < low:
			values = values[:low]
		case n < high:
			return values[n]
		default:
			values, n = values[high:], n-high
		}
	}
	slices.Sort(values)
	return values[n]
}

// part moves the values below, equal to and above one of them apart, and returns where the
// equal ones begin and end.
func part[T cmp.Ordered](values []T) (low, high int) {
	three := []T{values[0], values[len(values)/2], values[len(values)-1]}
	slices.Sort(three)
	pivot := three[1]
	high = len(values)
	for i := 0; i < high; {
		switch v := values[i]; {
		case v < pivot:
			values[i], values[low] = values[low], v
			low++
			i++
		case v > pivot:
			high--
			values[i], values[high] = values[high], v
		default:
			i++
		}
	}
	return low, high
}
