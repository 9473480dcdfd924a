package batching_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestSeparateRowsDoNotWait checks that rows of a detector that saves nothing by larger
// calls are scored at the same time, one in each slot, and have their own results.
func TestSeparateRowsDoNotWait(t *testing.T) {
	m, g, _ := modeltest.OpenSeparate(t, "", 4)
	open := g.Shut()
	values := []float64{1, 13, modeltest.FailsWhole, modeltest.NoScore}
	all := modeltest.Submit(t, m, values...)
	testkit.Eventually(t, "four calls", func() bool { return len(g.Calls()) == 4 })
	if f := m.Figures(time.Now()); f.Busy != 4 || f.Waiting != 0 {
		t.Errorf("%d calls run and %d rows wait", f.Busy, f.Waiting)
	}
	open()
	for i, r := range all() {
		switch {
		case r.Err != nil:
			t.Errorf("row %v: %v", values[i], r.Err)
		case (values[i] == 1) != (len(r.Failed) == 0):
			t.Errorf("row %v failed with %v", values[i], r.Failed)
		case values[i] == 1 && r.Score != 2:
			t.Errorf("row 1 scored %v", r.Score)
		}
	}
	for _, n := range g.Calls() {
		if n != 1 {
			t.Errorf("a call had %d rows", n)
		}
	}
	if f := m.Figures(time.Now()); f.Busy != 0 {
		t.Errorf("%d calls still run", f.Busy)
	}
}

// TestSeparateCallsRunOnTheRequest is TestBoundedCallsRunOnTheRequest for such a
// detector.
func TestSeparateCallsRunOnTheRequest(t *testing.T) {
	var stack atomic.Value
	m := modeltest.OpenFake(t, modeltest.Simple("m", "1.0.0"), nil, func(*manifest.Manifest) sdk.Scorer { return tracingAlone{tracing{stack: &stack}} })
	for _, v := range []float64{3, -101, 4} {
		r := modeltest.Submit(t, m, v)()[0]
		if panics := v < 0; panics != errors.Is(r.Err, batching.ErrScoring) || (!panics && (r.Err != nil || r.Score != v)) {
			t.Errorf("row %v: %+v", v, r)
		}
	}
	if s, _ := stack.Load().(string); !strings.Contains(s, "modeltest.Submit") {
		t.Errorf("the call ran elsewhere:\n%s", s)
	}
}

type tracingAlone struct{ tracing }

func (tracingAlone) RowByRow() bool { return true }

// sleeping is a separate detector whose calls take as many seconds as the feature says.
type sleeping struct{ modeltest.Sums }

func (sleeping) Bounded() bool  { return true }
func (sleeping) RowByRow() bool { return true }

func (s sleeping) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	time.Sleep(time.Duration(in.Float64s()[0] * float64(time.Second)))
	return s.Sums.Score(ctx, in, out)
}

// TestSeparateCallIsLate checks that a call that claims to be bounded and is not frees
// its worker at its deadline, whenever the watch was set, and that what follows is
// answered.
func TestSeparateCallIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := modeltest.OpenFake(t, modeltest.Simple("m", "1.0.0")+"limits: {timeout: 10s}\n", batching.NewCalls(1), func(*manifest.Manifest) sdk.Scorer { return sleeping{} })
		for _, took := range []float64{0, 9, 0.5} { // they set the watch, which then fires during a call
			if r := modeltest.Submit(t, m, took)()[0]; r.Err != nil || r.Score != took {
				t.Fatalf("%+v", r)
			}
		}
		slow := modeltest.Submit(t, m, 30)
		time.Sleep(9 * time.Second)
		if f := m.Figures(time.Now()); f.Busy != 1 || f.Stuck != 0 {
			t.Errorf("before the deadline: %+v", f)
		}
		waits := modeltest.Submit(t, m, 1)
		synctest.Wait()
		time.Sleep(2 * time.Second)
		if f := m.Figures(time.Now()); f.Stuck != 1 {
			t.Errorf("after the deadline: %+v", f)
		}
		if r := waits()[0]; !errors.Is(r.Err, batching.ErrUnavailable) {
			t.Errorf("the row that waited: %+v", r)
		}
		if r := slow()[0]; !errors.Is(r.Err, batching.ErrLate) || !errors.Is(r.Err, context.DeadlineExceeded) {
			t.Errorf("the slow row: %+v", r)
		}
		if r := modeltest.Submit(t, m, 2)()[0]; r.Err != nil || r.Score != 2 {
			t.Errorf("after the slow row: %+v", r)
		}
		if f := m.Figures(time.Now()); f.Busy != 0 || f.Stuck != 0 {
			t.Errorf("at the end: %+v", f)
		}
	})
}
