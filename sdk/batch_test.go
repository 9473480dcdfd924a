package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// sum scores a row with the sum of its values.
type sum struct{}

func (sum) Info() sdk.Info { return sdk.Info{Name: "sum"} }
func (sum) Close() error   { return nil }

func (sum) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	d := len(in.Features())
	for i := range out {
		out[i] = 0
		for _, v := range in.Float64s()[i*d : (i+1)*d] {
			out[i] += v
		}
	}
	return nil
}

func ExampleScorer() {
	var scorer sdk.Scorer = sum{}
	batch := sdk.NewBatch([]sdk.Feature{{Name: "a", DType: sdk.Float64}, {Name: "b", DType: sdk.Float64}})
	batch.Resize(2)
	copy(batch.Float64s(), []float64{1, 2, 3, 4})
	scores := make([]float64, batch.Rows())
	fmt.Println(scorer.Score(context.Background(), batch, scores), scores)
	// Output: <nil> [3 7]
}

func TestBatchKinds(t *testing.T) {
	all := []sdk.Feature{{"f", sdk.Float32}, {"d", sdk.Float64}, {"i", sdk.Int64}, {"s", sdk.String}, {"b", sdk.Bool}}
	values := []any{float32(1.5), 2.5, int64(3), "x", true}
	other := []any{float32(-1), -2.0, int64(-3), "y", false}
	layouts := map[string][]sdk.Feature{
		"columns": all, "float32": {all[0], all[0]}, "float64": {all[1], all[1]}, "int64": {all[2], all[2]},
	}
	pick := func(f sdk.Feature, from []any) any {
		for k, g := range all {
			if g == f {
				return from[k]
			}
		}
		return nil
	}
	for name, features := range layouts {
		t.Run(name, func(t *testing.T) {
			b := sdk.NewBatch(features)
			if dense := b.Dense() != 0; dense == (name == "columns") {
				t.Fatalf("Dense() = %v", b.Dense())
			}
			b.Resize(3)
			for i, row := range [][]any{values, other, values} {
				for j, f := range features {
					if err := b.SetValue(i, j, pick(f, row)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := b.SetValue(0, 0, struct{}{}); err == nil {
				t.Error("SetValue accepted a value of the wrong type")
			}
			b.Resize(5) // grows and keeps
			b.CopyRow(4, b, 1)
			b.CopyCell(3, b, 0, 1)
			part := b.Slice(1, 2)
			for j, f := range features {
				want := pick(f, other)
				if got := part.Value(0, j); got != want {
					t.Errorf("slice: feature %d = %v, want %v", j, got, want)
				}
				if got := b.Value(4, j); got != want {
					t.Errorf("copied row: feature %d = %v, want %v", j, got, want)
				}
			}
			if got, want := b.Value(3, 1), pick(features[1], values); got != want {
				t.Errorf("copied cell = %v, want %v", got, want)
			}
			if part.Rows() != 1 || b.Rows() != 5 {
				t.Errorf("rows %d and %d", part.Rows(), b.Rows())
			}
		})
	}
}

func TestDTypeNames(t *testing.T) {
	for _, d := range []sdk.DType{sdk.Float32, sdk.Float64, sdk.Int64, sdk.String, sdk.Bool} {
		if got, err := sdk.ParseDType(d.String()); err != nil || got != d {
			t.Errorf("ParseDType(%q) = %v, %v", d, got, err)
		}
	}
	for _, s := range []string{"", "float", "DType(0)"} {
		if _, err := sdk.ParseDType(s); err == nil {
			t.Errorf("ParseDType(%q) was accepted", s)
		}
	}
}

func TestRowErrors(t *testing.T) {
	var err error = &sdk.RowErrors{Rows: []sdk.RowError{{Row: 2, Field: "age", Reason: "missing"}, {Row: 5, Reason: "x"}}}
	if got, want := err.Error(), `row 2, feature "age": missing (and 1 more rows)`; got != want {
		t.Errorf("got %s", got)
	}
	var rows *sdk.RowErrors
	if !errors.As(err, &rows) {
		t.Error("not a RowErrors")
	}
}
