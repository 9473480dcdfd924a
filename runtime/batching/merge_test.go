package batching_test

import (
	"context"
	"errors"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// open opens a model with a gated detector.
type open func(t *testing.T, extra string, workers int) (*model.Model, *modeltest.Gated, *batching.Calls)

// merging returns the ways in which rows of requests are merged into calls.
func merging() map[string]open {
	return map[string]open{"by runners": modeltest.OpenGated, "by requests": modeltest.OpenBounded, "while all slots are taken": modeltest.OpenSeparate}
}

// TestRowsOfRequestsShareCalls checks that rows that arrive during the only call
// share the next one, and that every request gets its own result.
func TestRowsOfRequestsShareCalls(t *testing.T) {
	for name, open := range merging() {
		t.Run(name, func(t *testing.T) { rowsOfRequestsShareCalls(t, open) })
	}
}

func rowsOfRequestsShareCalls(t *testing.T, openModel open) {
	m, g, _ := openModel(t, "", 1)
	open := g.Shut()
	first := modeltest.Submit(t, m, 100)
	testkit.Eventually(t, "the first call", func() bool { return len(g.Calls()) == 1 })
	values := []float64{1, 2, 3, 13, 5, modeltest.NoScore, 7, modeltest.FailsWhole, 9, 10}
	rest := modeltest.Submit(t, m, values...)
	testkit.Eventually(t, "the others wait", func() bool { return m.Waiting() == len(values) })
	open()
	if r := first()[0]; r.Err != nil || r.Score != 200 {
		t.Errorf("the first request got %+v", r)
	}
	for i, r := range rest() {
		bad := values[i] == 13 || values[i] == modeltest.NoScore || values[i] == modeltest.FailsWhole
		switch {
		case r.Err != nil:
			t.Errorf("row %v: %v", values[i], r.Err)
		case bad != (len(r.Failed) == 1):
			t.Errorf("row %v failed with %v", values[i], r.Failed)
		case !bad && r.Score != 2*values[i]:
			t.Errorf("row %v scored %v", values[i], r.Score)
		}
	}
	if sizes := g.Calls(); len(sizes) < 2 || sizes[1] != len(values) {
		t.Errorf("calls had %v rows: the waiting ones did not share one", sizes)
	}
}

// TestSlowRowCostsOthersNothing checks that a merged call that times out is repeated
// row by row.
func TestSlowRowCostsOthersNothing(t *testing.T) {
	for name, open := range merging() {
		t.Run(name, func(t *testing.T) { slowRowCostsOthersNothing(t, open) })
	}
}

func slowRowCostsOthersNothing(t *testing.T, openModel open) {
	for name, slow := range map[string]float64{"notices its deadline": modeltest.TakesLong, "ignores its deadline": modeltest.Hangs} {
		synctest.Test(t, func(t *testing.T) {
			m, g, calls := openModel(t, "limits: {timeout: 1s}\n", 2)
			open := g.Shut()
			first := modeltest.Submit(t, m, 100)
			synctest.Wait()
			second := modeltest.Submit(t, m, 101)
			synctest.Wait()
			rest := modeltest.Submit(t, m, 1, 2, slow, 4)
			synctest.Wait()
			if running, waiting := len(g.Calls()), m.Waiting(); running != 2 || waiting != 4 {
				t.Fatalf("%s: %d calls, and %d rows wait", name, running, waiting)
			}
			open()
			first()
			second()
			for i, r := range rest() {
				if i == 2 {
					if !errors.Is(r.Err, context.DeadlineExceeded) {
						t.Errorf("%s: the slow row ended with %v", name, r.Err)
					}
				} else if r.Err != nil || r.Score != []float64{2, 4, 0, 8}[i] {
					t.Errorf("%s: row %d: %v, %v, %v", name, i, r.Score, r.Failed, r.Err)
				}
			}
			if err := calls.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDeadlyRowCostsOthersNothing checks that a merged call that ended the
// detector's processes is repeated row by row.
func TestDeadlyRowCostsOthersNothing(t *testing.T) {
	for name, open := range merging() {
		t.Run(name, func(t *testing.T) { deadlyRowCostsOthersNothing(t, open) })
	}
}

func deadlyRowCostsOthersNothing(t *testing.T, openModel open) {
	m, g, _ := openModel(t, "", 1)
	open := g.Shut()
	first := modeltest.Submit(t, m, 100)
	testkit.Eventually(t, "the first call", func() bool { return len(g.Calls()) == 1 })
	values := []float64{1, 2, modeltest.EndsIt, 4}
	rest := modeltest.Submit(t, m, values...)
	testkit.Eventually(t, "the others wait", func() bool { return m.Waiting() == len(values) })
	open()
	first()
	var down *model.UnavailableError
	for i, r := range rest() {
		if values[i] == modeltest.EndsIt {
			if !errors.As(r.Err, &down) {
				t.Errorf("the deadly row ended with %v", r.Err)
			}
		} else if r.Err != nil || r.Score != 2*values[i] {
			t.Errorf("row %d: %v, %v, %v", i, r.Score, r.Failed, r.Err)
		}
	}
}

func TestFullQueue(t *testing.T) {
	for name, open := range merging() {
		t.Run(name, func(t *testing.T) { fullQueue(t, open) })
	}
}

func fullQueue(t *testing.T, openModel open) {
	m, g, _ := openModel(t, "batching: {max_queue: 3}\n", 1)
	open := g.Shut()
	first := modeltest.Submit(t, m, 1)
	testkit.Eventually(t, "the first call", func() bool { return len(g.Calls()) == 1 })
	rest := modeltest.Submit(t, m, 2, 3, 4)
	testkit.Eventually(t, "a full queue", func() bool { return m.Waiting() == 3 })
	if r := modeltest.Submit(t, m, 5)()[0]; !errors.Is(r.Err, batching.ErrOverloaded) {
		t.Errorf("a row too many: %v", r.Err)
	}
	open()
	for _, r := range append(first(), rest()...) {
		if r.Err != nil {
			t.Error(r.Err)
		}
	}
}

// TestAbandonedRow checks that a request whose time ends while it waits is answered
// then, and that its row is not scored later.
func TestAbandonedRow(t *testing.T) {
	for name, open := range merging() {
		t.Run(name, func(t *testing.T) { abandonedRow(t, open) })
	}
}

func abandonedRow(t *testing.T, openModel open) {
	m, g, _ := openModel(t, "", 1)
	open := g.Shut()
	first := modeltest.Submit(t, m, 1)
	testkit.Eventually(t, "the first call", func() bool { return len(g.Calls()) == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := m.Predict(ctx, modeltest.Batch(2), 0, make([]float64, 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ended with %v", err)
	}
	open()
	first()
	modeltest.Submit(t, m, 3)()
	if sizes := g.Calls(); len(sizes) != 2 || sizes[1] != 1 {
		t.Errorf("calls had %v rows", sizes)
	}
}

func TestCoupledRowsAreNotMerged(t *testing.T) {
	var most atomic.Int64
	m := modeltest.OpenFake(t, modeltest.Simple("m", "1.0.0")+"batch_dependent: true\n", nil, func(*manifest.Manifest) sdk.Scorer { return counting{most: &most} })
	most.Store(0)
	modeltest.Submit(t, m, make([]float64, 50)...)()
	if most.Load() != 1 {
		t.Errorf("a call had %d rows", most.Load())
	}
}

type counting struct {
	modeltest.Sums
	most *atomic.Int64
}

func (c counting) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	if n := int64(in.Rows()); n > c.most.Load() {
		c.most.Store(n)
	}
	return c.Sums.Score(ctx, in, out)
}

// TestBoundedCallsRunOnTheRequest checks that a bounded detector is called on the
// goroutine of the request, and that a panic there ends that call alone.
func TestBoundedCallsRunOnTheRequest(t *testing.T) {
	var stack atomic.Value
	m := modeltest.OpenFake(t, modeltest.Simple("m", "1.0.0"), nil, func(*manifest.Manifest) sdk.Scorer { return tracing{stack: &stack} })
	if r := modeltest.Submit(t, m, 3)()[0]; r.Err != nil || r.Score != 3 {
		t.Errorf("got %+v", r)
	}
	if s, _ := stack.Load().(string); !strings.Contains(s, "modeltest.Submit") {
		t.Errorf("the call ran elsewhere:\n%s", s)
	}
	if r := modeltest.Submit(t, m, -101)()[0]; !errors.Is(r.Err, batching.ErrScoring) {
		t.Errorf("a panic ended with %v", r.Err)
	}
	if r := modeltest.Submit(t, m, 4)()[0]; r.Err != nil || r.Score != 4 {
		t.Errorf("after a panic: %+v", r)
	}
}

// tracing is a bounded detector that records the stack of its last call.
type tracing struct {
	panicking
	stack *atomic.Value
}

func (tracing) Bounded() bool { return true }

func (c tracing) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	c.stack.Store(string(debug.Stack()))
	return c.panicking.Score(ctx, in, out)
}
