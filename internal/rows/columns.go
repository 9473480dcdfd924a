package rows

import (
	"math"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Numbers reads n rows of a typed table at once, as Float does row by row. Each feature
// has a column of n values. It returns false and reads nothing if a value is missing or
// does not fit, or if the features are not all of one type of fractions.
func (d *Decoder) Numbers(n int, columns [][]float64) bool {
	from, width := d.batch.Rows(), len(d.schema.features)
	d.batch.Resize(from + n)
	done := false
	switch d.batch.Dense() {
	case sdk.Float32:
		done = fill(d.batch.Float32s()[from*width:], columns)
	case sdk.Float64:
		done = fill(d.batch.Float64s()[from*width:], columns)
	}
	if !done {
		d.batch.Resize(from)
		return false
	}
	d.total += n
	return true
}

// fill writes columns into a matrix of rows. It returns false at the first value that is
// not finite in the matrix.
func fill[T float32 | float64](to []T, columns [][]float64) bool {
	for j, values := range columns {
		at := j
		for _, x := range values {
			v := T(x)
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return false
			}
			to[at] = v
			at += len(columns)
		}
	}
	return true
}
