package authoring

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestDecodeAll checks that rows keep their order, that those which fail have their own
// numbers, and that an error of the file is told.
func TestDecodeAll(t *testing.T) {
	for _, second := range []sdk.DType{sdk.Float32, sdk.String} { // a matrix, and columns
		m := manifest.Defaults()
		m.Features = []manifest.Feature{{Feature: sdk.Feature{Name: "a", DType: sdk.Float32}}, {Feature: sdk.Feature{Name: "b", DType: second}}}
		s := rows.NewSchema(m)
		for _, n := range []int{0, 1, 999, 1000, 1001, 12_345} {
			var text strings.Builder
			text.WriteString("a,b\n")
			var want []int // of the rows that are read
			for i := range n {
				if i%500 == 7 {
					text.WriteString("x,1\n")
					continue
				}
				fmt.Fprintf(&text, "%d,%d\n", i, i+1)
				want = append(want, i)
			}
			open := func(in io.Reader) *table.Table {
				out, err := table.Open(table.CSV, in, io.Discard, s, table.Options{})
				if err != nil {
					t.Fatal(err)
				}
				return out
			}
			got, err := decodeAll(open(strings.NewReader(text.String())), s)
			if err != nil || got.total != n || got.batch.Rows() != len(want) || len(got.failed) != n-len(want) {
				t.Fatalf("%s, %d rows: %+v, %v", second, n, got, err)
			}
			for at, i := range want {
				b := any(float32(i + 1))
				if second == sdk.String {
					b = fmt.Sprint(i + 1)
				}
				if got.batch.Value(at, 0) != float32(i) || got.batch.Value(at, 1) != b {
					t.Fatalf("%s, %d rows: row %d is %v, %v", second, n, at, got.batch.Value(at, 0), got.batch.Value(at, 1))
				}
			}
			for k, e := range got.failed {
				if e.Row != 500*k+7 {
					t.Errorf("%s, %d rows: row %d failed, not %d", second, n, e.Row, 500*k+7)
				}
			}
			broken := errors.New("the disk is gone")
			if _, err := decodeAll(open(io.MultiReader(strings.NewReader(text.String()), iotest.ErrReader(broken))), s); !errors.Is(err, broken) {
				t.Errorf("%s, %d rows: error %v", second, n, err)
			}
		}
	}
}
