package batching_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// lingering ignores its deadline and records whether it was closed meanwhile.
type lingering struct {
	modeltest.Sums
	returns          chan struct{} // Score returns when it is closed
	busy, closedBusy *atomic.Bool
}

func (l lingering) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	l.busy.Store(true)
	<-l.returns
	l.busy.Store(false)
	copy(out, in.Float64s())
	return nil
}

func (l lingering) Close() error {
	if l.busy.Load() {
		l.closedBusy.Store(true)
	}
	return nil
}

// TestNothingIsClosedUnderACall checks that a model whose probe is late is refused,
// and is closed only after the call has returned.
func TestNothingIsClosedUnderACall(t *testing.T) {
	l := lingering{returns: make(chan struct{}), busy: new(atomic.Bool), closedBusy: new(atomic.Bool)}
	calls := batching.NewCalls(2)
	_, err := modeltest.TryFake(t, modeltest.Simple("late", "1.0.0")+"limits: {timeout: 20ms}\n", calls, func(*manifest.Manifest) sdk.Scorer { return l })
	if !errors.Is(err, batching.ErrLate) {
		t.Errorf("opened with %v", err)
	}
	close(l.returns)
	if err := calls.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.closedBusy.Load() {
		t.Error("the detector was closed under a running call")
	}
}

// TestWaitingIsNotTheDetectorsTime checks that batches that wait for a slot still
// have all of limits.timeout for their calls.
func TestWaitingIsNotTheDetectorsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout, each = time.Minute, 59 * time.Second
		var armed atomic.Bool
		m := modeltest.OpenFake(t, modeltest.Simple("m", "1.0.0")+"limits: {timeout: 1m}\n", batching.NewCalls(1), func(*manifest.Manifest) sdk.Scorer {
			return leisurely{armed: &armed, takes: each}
		})
		armed.Store(true)
		done := make(chan error, 2)
		start := time.Now()
		for range 2 {
			go func() {
				_, err := m.Predict(t.Context(), modeltest.Batch(1, 2), 0, make([]float64, 2))
				done <- err
			}()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took <= timeout { // of the bubble's clock
			t.Errorf("both together took %v: none has waited", took)
		}
	})
}

// leisurely takes its time for a call once it is armed.
type leisurely struct {
	modeltest.Sums
	armed *atomic.Bool
	takes time.Duration
}

func (l leisurely) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	if l.armed.Load() {
		time.Sleep(l.takes)
	}
	return l.Sums.Score(ctx, in, out)
}
