package fit_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
)

func ExampleParseColumns() {
	d := fit.Data{Rows: 2, Cols: 2, Values: []float64{1, 10, 2, 20}}
	columns, err := fit.ParseColumns(fit.Columns(d), 2)
	fmt.Println(columns, err)
	// Output: [[1 2] [10 20]] <nil>
}

// FuzzParseColumns checks that a file is refused, or is equal after decoding and
// encoding.
func FuzzParseColumns(f *testing.F) {
	f.Add(fit.Columns(fit.Data{Rows: 3, Cols: 2, Values: []float64{1, 2, 3, 4, 5, 6}}), 2)
	f.Add([]byte{}, 0)
	f.Add(make([]byte, 15), 1)
	f.Fuzz(func(t *testing.T, data []byte, cols int) {
		columns, err := fit.ParseColumns(data, cols)
		if err != nil {
			if !errors.Is(err, fit.ErrFile) {
				t.Errorf("%v", err)
			}
			return
		}
		d := fit.Data{Rows: len(columns[0]), Cols: cols}
		for i := range d.Rows {
			for j := range cols {
				d.Values = append(d.Values, columns[j][i])
			}
		}
		if !slices.Equal(fit.Columns(d), data) {
			t.Error("encoding gives other bytes")
		}
	})
}
