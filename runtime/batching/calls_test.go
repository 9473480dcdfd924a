package batching_test

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestStuckModel checks that a detector that ignores its deadline is answered for at
// the deadline and does not affect other models, and that it is unavailable once all
// its calls are stuck.
func TestStuckModel(t *testing.T) { synctest.Test(t, testStuckModel) }

func testStuckModel(t *testing.T) {
	calls := batching.NewCalls(2)
	release := make(chan struct{})
	var armed atomic.Bool
	stuck := modeltest.OpenFake(t, modeltest.Simple("stuck", "1.0.0")+"limits: {timeout: 30ms}\n", calls, func(*manifest.Manifest) sdk.Scorer {
		return modeltest.Sums{Delay: release, Armed: armed.Load}
	})
	other := modeltest.OpenFake(t, modeltest.Simple("other", "1.0.0"), calls, func(*manifest.Manifest) sdk.Scorer { return modeltest.Sums{} })
	armed.Store(true)
	for range 2 {
		if _, err := stuck.Predict(t.Context(), modeltest.Batch(1), 0, make([]float64, 1)); !errors.Is(err, batching.ErrLate) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a stuck call ended with %v", err)
		}
		out := make([]float64, 1)
		if _, err := other.Predict(t.Context(), modeltest.Batch(5), 0, out); err != nil || out[0] != 5 {
			t.Fatalf("the other model answers %v, %v", out, err)
		}
	}
	if _, err := stuck.Predict(t.Context(), modeltest.Batch(1), 0, make([]float64, 1)); !errors.Is(err, batching.ErrUnavailable) {
		t.Fatalf("with all calls stuck: %v", err)
	}
	armed.Store(false)
	close(release)
	if err := calls.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := stuck.Predict(t.Context(), modeltest.Batch(1), 0, make([]float64, 1)); err != nil {
		t.Fatalf("after it recovered: %v", err)
	}
}

func TestBadRowsHarmNoOthers(t *testing.T) {
	m := modeltest.OpenFake(t, modeltest.Simple("picky", "1.0.0"), nil, func(*manifest.Manifest) sdk.Scorer { return modeltest.Picky{Limit: 100} })
	out := make([]float64, 7)
	failed, err := m.Predict(t.Context(), modeltest.Batch(1, 200, 3, math.Inf(-1), 5, 300, math.NaN()), 4, out)
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
}
