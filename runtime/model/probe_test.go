package model_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// moody gives different scores every time.
type moody struct {
	modeltest.Sums
	n *atomic.Int64
}

func (m moody) Score(_ context.Context, _ *sdk.Batch, out []float64) error {
	for i := range out {
		out[i] = float64(m.n.Add(1))
	}
	return nil
}

// coupled subtracts the mean of the batch.
type coupled struct{ modeltest.Sums }

func (coupled) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	mean := 0.0
	for _, v := range in.Float64s() {
		mean += v / float64(in.Rows())
	}
	for i, v := range in.Float64s() {
		out[i] = v - mean
	}
	return nil
}

func TestProbe(t *testing.T) {
	random := func(*manifest.Manifest) sdk.Scorer { return moody{n: new(atomic.Int64)} }
	mean := func(*manifest.Manifest) sdk.Scorer { return coupled{} }
	for _, c := range []struct {
		name, extra, want string
		open              func(*manifest.Manifest) sdk.Scorer
	}{
		{"random", "", "stateful: true", random},
		{"random but stateful", "stateful: true\n", "", random},
		{"coupled", "", "batch_dependent: true", mean},
		{"coupled and says so", "batch_dependent: true\n", "", mean},
		{"plain", "", "", func(*manifest.Manifest) sdk.Scorer { return modeltest.Sums{} }},
		{"fails", "", "unknown category", func(*manifest.Manifest) sdk.Scorer { return modeltest.Picky{Limit: -100} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := modeltest.TryFake(t, modeltest.Simple("m", "1.0.0")+c.extra, nil, c.open)
			if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// odd is a detector whose last bits, or more, depend on the number of rows in a call
// or on a row's position.
type odd struct {
	modeltest.Sums
	by    float64
	where func(place, rows int) bool
}

func (o odd) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	for i, v := range in.Float64s() {
		if out[i] = v; o.where(i, len(out)) {
			out[i] += o.by
		}
	}
	return nil
}

// TestFill checks that calls get the smallest fill that makes a row's score
// independent of the other rows. If there is none, the model has a warning, or is
// refused if the difference matters.
func TestFill(t *testing.T) {
	const little, much = 1e-7, 0.7
	const real = "explanation: {method: exact, reference: {x: 1}}\n" // a row of the author's
	single := func(_, rows int) bool { return rows == 1 }
	for _, c := range []struct {
		name  string
		by    float64
		where func(place, rows int) bool
		fill  batching.Fill
		extra string
		want  string // in the error or in the warnings
		fails bool
	}{
		{"always the same", little, func(int, int) bool { return false }, batching.Fill{Rows: 1, Each: 1}, "", "", false},
		{"a single row", little, single, batching.Fill{Rows: 2, Each: 1}, "", "", false},
		{"odd numbers", little, func(_, rows int) bool { return rows%2 == 1 }, batching.Fill{Rows: 2, Each: 1}, "", "", false},
		{"the rest of four", little, func(place, rows int) bool { return place >= rows/4*4 }, batching.Fill{Rows: 4, Each: 1}, "", "", false},
		{"odd places", little, func(place, _ int) bool { return place%2 == 1 }, batching.Fill{Rows: 1, Each: 2}, "", "", false},
		{"places of four", little, func(place, _ int) bool { return place%4 > 1 }, batching.Fill{Rows: 1, Each: 4}, "", "", false},
		{"calls of one row", much, single, batching.Fill{Rows: 1, Each: 1}, "limits: {timeout: 5m, load_timeout: 10m, max_batch_rows: 1}\n", "", false},
		{"no more rows than a call may have", little, single, batching.Fill{Rows: 2, Each: 1}, "limits: {timeout: 5m, load_timeout: 10m, max_batch_rows: 2}\n", "", false},
		{"nothing helps, and it is little", little, func(_, rows int) bool { return rows > 8 }, batching.Fill{Rows: 1, Each: 1}, "", "may differ by 1e-07", false},
		{"nothing helps, and it is much", much, func(_, rows int) bool { return rows > 8 }, batching.Fill{}, real, "imprecise: float32 loses 0.7", true},
		{"a single row by much", much, single, batching.Fill{}, real, "export the graph in float64, or scale the features", true},
		{"a single row by much, of rows that were made up", much, single, batching.Fill{Rows: 2, Each: 1}, "", "imprecise: float32 loses 0.7", false},
		{"a single row by a little more", 1e-3, single, batching.Fill{Rows: 2, Each: 1}, "", "imprecise: float32 loses 0.001", false},
		{"said to depend on other rows", much, single, batching.Fill{Rows: 1, Each: 1}, "batch_dependent: true\n", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := modeltest.TryFake(t, modeltest.Simple("m", "1.0.0")+c.extra, nil, func(*manifest.Manifest) sdk.Scorer { return odd{by: c.by, where: c.where} })
			if c.fails {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("error %v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if m.Fill() != c.fill {
				t.Errorf("filled %+v, want %+v", m.Fill(), c.fill)
			}
			if said := strings.Join(m.Warnings, "; "); (c.want == "") != (said == "") || !strings.Contains(said, c.want) {
				t.Errorf("warnings %q, want %q", said, c.want)
			}
			if (m.Difference > 0) != strings.Contains(c.want, "may differ") {
				t.Errorf("a difference of %v", m.Difference)
			}
		})
	}
}

// TestExplainAlone checks that if rows influence each other, the rows of an
// explanation do not.
func TestExplainAlone(t *testing.T) {
	text := modeltest.Simple("m", "1.0.0") + "batch_dependent: true\nexplanation: {method: exact, reference: {x: 1}}\n"
	m := modeltest.OpenFake(t, text, nil, func(*manifest.Manifest) sdk.Scorer { return coupled{} })
	defer m.Close()
	alone := make([]float64, 1)
	row := modeltest.RowsOf(t, m, 7.2)
	if bad, err := m.Predict(t.Context(), row, 0, alone); err != nil || bad != nil {
		t.Fatal(bad, err)
	}
	e, err := m.Explain(t.Context(), row)
	if err != nil || e.Score != alone[0] {
		t.Errorf("explained for a score of %+v, %v; alone %v", e, err, alone[0])
	}
}
