package rows_test

import (
	"math"
	"slices"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestNumbers checks that columns are read as their rows are one by one, or not at all.
func TestNumbers(t *testing.T) {
	for _, dtypes := range [][2]sdk.DType{{sdk.Float32, sdk.Float32}, {sdk.Float64, sdk.Float64}, {sdk.Float32, sdk.Float64}, {sdk.Int64, sdk.Int64}} {
		m := manifest.Defaults()
		m.Features = []manifest.Feature{{Feature: sdk.Feature{Name: "a", DType: dtypes[0]}}, {Feature: sdk.Feature{Name: "b", DType: dtypes[1]}}}
		s := rows.NewSchema(m)
		for _, x := range []float64{0, math.Copysign(0, -1), 1.1, -5e-324, 3.4028235e38, 3.4028236e38, 1e300, math.MaxFloat64, math.NaN(), math.Inf(1), math.Inf(-1)} {
			columns := [][]float64{{1, 2, 3}, {4, x, 6}}
			got, want := s.NewDecoder(), s.NewDecoder()
			for i := range 3 {
				want.Begin()
				want.Float(0, columns[0][i])
				want.Float(1, columns[1][i])
				want.End()
			}
			for turn := range 2 { // the second adds to the first
				done := got.Numbers(3, columns)
				if possible := dtypes[0] != sdk.Int64 && dtypes[0] == dtypes[1] && len(want.Failed()) == 0; done != possible {
					t.Fatalf("%v, %v: read is %t, and %d rows fail alone", dtypes, x, done, len(want.Failed()))
				}
				if !done {
					if got.Total() != 0 || got.Batch().Rows() != 0 {
						t.Errorf("%v, %v: %d rows of %d", dtypes, x, got.Batch().Rows(), got.Total())
					}
					continue
				}
				last := got.Batch().Slice(3*turn, 3*turn+3)
				if got.Total() != 3*turn+3 || !slices.Equal(last.Float32s(), want.Batch().Float32s()) || !slices.Equal(last.Float64s(), want.Batch().Float64s()) {
					t.Errorf("%v, %v: %v %v", dtypes, x, last.Float32s(), last.Float64s())
				}
			}
		}
	}
}
