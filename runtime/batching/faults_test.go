package batching_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// breaking is a detector that fails at rows of -1 and counts calls.
type breaking struct {
	modeltest.Gated
	calls atomic.Int64
}

func (b *breaking) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	b.calls.Add(1)
	for _, v := range in.Float64s() {
		if v == -1 {
			return &backends.FaultError{Err: errors.New("index out of range")}
		}
	}
	return b.Gated.Score(ctx, in, out)
}

func openBreaking(t *testing.T, extra string) (*model.Model, *breaking) {
	t.Helper()
	b := &breaking{}
	return modeltest.OpenFake(t, modeltest.Simple("m", "1.0.0")+extra, batching.NewCalls(1), func(*manifest.Manifest) sdk.Scorer { return b }), b
}

func isScoring(err error) bool {
	return errors.Is(err, batching.ErrScoring) && strings.Count(err.Error(), batching.ErrScoring.Error()) == 1 && strings.Contains(err.Error(), "index out of range")
}

// TestFaults checks that a request fails if the detector fails at its only row or at
// all rows, and that otherwise the failed rows are errors in their places.
func TestFaults(t *testing.T) {
	for name, extra := range map[string]string{"plain": "", "batch-dependent": "batch_dependent: true\n", "stateful": "stateful: true\n"} {
		t.Run(name, func(t *testing.T) {
			m, _ := openBreaking(t, extra)
			for _, values := range [][]float64{{-1}, {-1, -1, -1}} {
				if failed, err := m.Predict(t.Context(), modeltest.Batch(values...), 0, make([]float64, len(values))); !isScoring(err) {
					t.Errorf("%v: %v, %v", values, failed, err)
				}
			}
			out := make([]float64, 4)
			failed, err := m.Predict(t.Context(), modeltest.Batch(1, -1, 3, 4), 0, out)
			if name != "plain" {
				if !isScoring(err) {
					t.Errorf("%v, %v", failed, err)
				}
				return
			}
			if err != nil || len(failed) != 1 || failed[0].Row != 1 || !strings.Contains(failed[0].Reason, "index out of range") || out[0] != 2 || out[3] != 8 {
				t.Errorf("%v, %v, %v", out, failed, err)
			}
		})
	}
}

// TestFaultsAmongRequests checks that other requests' rows in the same call are
// scored.
func TestFaultsAmongRequests(t *testing.T) {
	m, b := openBreaking(t, "")
	open := b.Shut()
	first := modeltest.Submit(t, m, 100)
	testkit.Eventually(t, "the first call", func() bool { return len(b.Calls()) == 1 })
	values := []float64{1, -1, 3, -1, 13}
	rest := modeltest.Submit(t, m, values...)
	testkit.Eventually(t, "the others wait", func() bool { return m.Waiting() == len(values) })
	open()
	first()
	for i, r := range rest() {
		switch {
		case values[i] < 0:
			if !isScoring(r.Err) {
				t.Errorf("row %v: %+v", values[i], r)
			}
		case r.Err != nil || r.Score != 2*values[i] || (values[i] == 13) != (len(r.Failed) == 1):
			t.Errorf("row %v: %+v", values[i], r)
		}
	}
}

// TestFaultsWithoutEnd checks that a detector that fails at each row is not called
// for each.
func TestFaultsWithoutEnd(t *testing.T) {
	m, b := openBreaking(t, "")
	values := make([]float64, 4000)
	for i := range values {
		values[i] = -1
	}
	before := b.calls.Load()
	if _, err := m.Predict(t.Context(), modeltest.Batch(values...), 0, make([]float64, len(values))); !isScoring(err) {
		t.Errorf("%v", err)
	}
	if n := b.calls.Load() - before; n > 60 {
		t.Errorf("%d calls", n)
	}
	copy(values, []float64{1, 2})
	out := make([]float64, len(values))
	failed, err := m.Predict(t.Context(), modeltest.Batch(values...), 0, out)
	if err != nil || len(failed) != len(values)-2 || out[1] != 4 || !math.IsNaN(out[2]) {
		t.Errorf("%d failed, %v", len(failed), err)
	}
	for i, e := range failed {
		if e.Row != i+2 {
			t.Fatalf("error %d is of row %d", i, e.Row)
		}
	}
}
