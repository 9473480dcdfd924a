package runtime_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

func batch(values ...float64) *sdk.Batch {
	b := sdk.NewBatch([]sdk.Feature{{Name: "x", DType: sdk.Float64}})
	b.Resize(len(values))
	copy(b.Float64s(), values)
	return b
}

// TestStuckModel: a detector that ignores its deadline is answered for at the
// deadline, takes nothing from other models, and becomes unavailable when all
// its calls are stuck.
func TestStuckModel(t *testing.T) { synctest.Test(t, testStuckModel) }

func testStuckModel(t *testing.T) {
	calls := batching.NewCalls(2)
	release := make(chan struct{})
	var armed atomic.Bool
	stuck := openFake(t, simple("stuck", "1.0.0")+"limits: {timeout: 30ms}\n", calls, func(*manifest.Manifest) sdk.Scorer {
		return sums{delay: release, armed: armed.Load}
	})
	other := openFake(t, simple("other", "1.0.0"), calls, func(*manifest.Manifest) sdk.Scorer { return sums{} })
	armed.Store(true)
	for range 2 {
		if _, err := stuck.Predict(t.Context(), batch(1), 0, make([]float64, 1)); !errors.Is(err, batching.ErrLate) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a stuck call ended with %v", err)
		}
		out := make([]float64, 1)
		if _, err := other.Predict(t.Context(), batch(5), 0, out); err != nil || out[0] != 5 {
			t.Fatalf("the other model answers %v, %v", out, err)
		}
	}
	if _, err := stuck.Predict(t.Context(), batch(1), 0, make([]float64, 1)); !errors.Is(err, batching.ErrUnavailable) {
		t.Fatalf("with all calls stuck: %v", err)
	}
	armed.Store(false)
	close(release)
	if err := calls.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := stuck.Predict(t.Context(), batch(1), 0, make([]float64, 1)); err != nil {
		t.Fatalf("after it recovered: %v", err)
	}
}

// picky fails whole calls that contain a row above its limit.
type picky struct {
	sums
	limit float64
}

func (p picky) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	for _, v := range in.Float64s() {
		if v > p.limit {
			return errors.New("unknown category")
		}
	}
	return p.sums.Score(ctx, in, out)
}

func TestBadRowsHarmNoOthers(t *testing.T) {
	m := openFake(t, simple("picky", "1.0.0"), nil, func(*manifest.Manifest) sdk.Scorer { return picky{limit: 100} })
	out := make([]float64, 7)
	failed, err := m.Predict(t.Context(), batch(1, 200, 3, math.Inf(-1), 5, 300, math.NaN()), 4, out)
	if err != nil {
		t.Fatal(err)
	}
	var rows []int
	for _, f := range failed {
		rows = append(rows, f.Row)
	}
	if len(rows) != 4 || rows[0] != 1 || rows[1] != 3 || rows[2] != 5 || rows[3] != 6 {
		t.Errorf("rows %v failed: %v", rows, failed)
	}
	if out[0] != 1 || out[2] != 3 || out[4] != 5 {
		t.Errorf("good rows scored %v", out)
	}
	if s := m.Stats.Snapshot(); s.Rows != 7 || s.Anomalies != 2 {
		t.Errorf("counted %+v", s)
	}
}

// moody scores differently every time.
type moody struct {
	sums
	n *atomic.Int64
}

func (m moody) Score(_ context.Context, _ *sdk.Batch, out []float64) error {
	for i := range out {
		out[i] = float64(m.n.Add(1))
	}
	return nil
}

// coupled subtracts the mean of the batch.
type coupled struct{ sums }

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
		{"plain", "", "", func(*manifest.Manifest) sdk.Scorer { return sums{} }},
		{"fails", "", "unknown category", func(*manifest.Manifest) sdk.Scorer { return picky{limit: -100} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := tryFake(t, simple("m", "1.0.0")+c.extra, nil, c.open)
			if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
