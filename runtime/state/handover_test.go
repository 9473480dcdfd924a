package state_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestChangeWhileLearning checks that no answered row is lost while the manifest of
// a learning model changes repeatedly.
func TestChangeWhileLearning(t *testing.T) {
	dir := t.TempDir()
	text := func(n int) string {
		return modeltest.Simple("m", "1.0.0") + modeltest.Online + fmt.Sprintf("description: d%d\n", n)
	}
	modeltest.WriteModel(t, dir, "m", "1.0.0", text(0))
	r := modeltest.Follow(t, dir, &modeltest.Fake{Make: modeltest.NewCounter}, nil)
	var answered atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				modeltest.Predict(t, r, "m", "", 3)
				answered.Add(3)
			}
		})
	}
	for n := 1; n <= 8; n++ {
		modeltest.WriteModel(t, dir, "m", "1.0.0", text(n))
		before := answered.Load()
		testkit.Eventually(t, "the change is taken up", func() bool {
			m, err := r.Peek("m", "")
			return err == nil && m.Manifest.Description == fmt.Sprintf("d%d", n) && answered.Load() > before
		})
	}
	close(stop)
	wg.Wait()
	if out := modeltest.Predict(t, r, "m", "", 1); int64(out[0]) != answered.Load() {
		t.Errorf("%v rows are known of %d that were answered", out[0], answered.Load())
	}
}

// TestChangeOfFeatures checks that if the state has moved to a model with other
// features, a request to the old model is told to retry.
func TestChangeOfFeatures(t *testing.T) {
	dir := t.TempDir()
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0")+modeltest.Online)
	r := modeltest.Follow(t, dir, &modeltest.Fake{Make: modeltest.NewCounter}, nil)
	modeltest.Predict(t, r, "m", "", 5)
	lease, err := r.Acquire(t.Context(), "m", "", "")
	if err != nil {
		t.Fatal(err)
	}
	old := lease.Model()
	modeltest.WriteModel(t, dir, "m", "1.0.0", strings.Replace(modeltest.Simple("m", "1.0.0"), "name: x", "name: y", 1)+modeltest.Online)
	testkit.Eventually(t, "the change is taken up", func() bool {
		m, err := r.Peek("m", "")
		return err == nil && m.Manifest.Features[0].Name == "y"
	})
	var unavailable *model.UnavailableError
	if err := old.Learn(t.Context(), modeltest.RowsOf(t, old, 1)); !errors.As(err, &unavailable) || unavailable.RetryAfter <= 0 {
		t.Errorf("%v", err)
	}
	lease.Release()
	if out := modeltest.Predict(t, r, "m", "", 1); out[0] != 5 {
		t.Errorf("%v", out)
	}
}

// TestCloseWaitsForRequests checks that what a request teaches while the host stops
// is kept.
func TestCloseWaitsForRequests(t *testing.T) {
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "snapshots")
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0")+modeltest.Online)
	with := func(c *registry.Config) { c.StateDir = state }
	t.Run("first host", func(t *testing.T) {
		r := modeltest.Follow(t, dir, &modeltest.Fake{Make: modeltest.NewCounter}, with)
		lease, err := r.Acquire(t.Context(), "m", "", "")
		if err != nil {
			t.Fatal(err)
		}
		end := make(chan error, 1)
		go func() { end <- r.Close(context.Background()) }()
		testkit.Eventually(t, "the model is unloaded", func() bool { n, _ := r.Counts(); return n == 0 })
		if err := lease.Model().Learn(t.Context(), modeltest.RowsOf(t, lease.Model(), 1, 2, 3)); err != nil {
			t.Error(err)
		}
		lease.Release()
		if err := <-end; err != nil {
			t.Error(err)
		}
	})
	r := modeltest.Follow(t, dir, &modeltest.Fake{Make: modeltest.NewCounter}, with)
	if out := modeltest.Predict(t, r, "m", "", 1); out[0] != 3 {
		t.Errorf("%v", out)
	}
}

// TestRemovedAndPutBack checks that a model that comes back while a request still
// uses the former one knows what that request taught.
func TestRemovedAndPutBack(t *testing.T) {
	dir := t.TempDir()
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0")+modeltest.Online)
	r := modeltest.Follow(t, dir, &modeltest.Fake{Make: modeltest.NewCounter}, nil)
	lease, err := r.Acquire(t.Context(), "m", "", "")
	if err != nil {
		t.Fatal(err)
	}
	away := filepath.Join(t.TempDir(), "away")
	if err := os.Rename(filepath.Join(dir, "m"), away); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it is gone", func() bool { n, _ := r.Counts(); return n == 0 })
	if err := os.Rename(away, filepath.Join(dir, "m")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it is found again", func() bool { list, err := r.List("m"); return err == nil && len(list) == 1 })
	if err := lease.Model().Learn(t.Context(), modeltest.RowsOf(t, lease.Model(), 1, 2)); err != nil {
		t.Fatal(err)
	}
	lease.Release()
	if out := modeltest.Predict(t, r, "m", "", 1); out[0] != 2 {
		t.Errorf("%v", out)
	}
}

// TestTwoHostsOneStateDirectory checks that a second host starts from the existing
// states and does not change them.
func TestTwoHostsOneStateDirectory(t *testing.T) {
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "snapshots")
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0")+modeltest.Online)
	var log testLog
	with := func(c *registry.Config) { c.StateDir = state }
	t.Run("hosts", func(t *testing.T) {
		first := modeltest.Follow(t, dir, &modeltest.Fake{Make: modeltest.NewCounter}, with)
		modeltest.Predict(t, first, "m", "", 4)
		if _, err := first.Unload("m", ""); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the state is saved", func() bool {
			names, _ := filepath.Glob(filepath.Join(state, "*.state"))
			return len(names) == 1
		})
		t.Run("second", func(t *testing.T) {
			second := modeltest.Follow(t, dir, &modeltest.Fake{Make: modeltest.NewCounter}, func(c *registry.Config) {
				c.StateDir, c.Log = state, slog.New(slog.NewTextHandler(&log, nil))
			})
			if out := modeltest.Predict(t, second, "m", "", 10); out[0] != 4 {
				t.Errorf("the second host starts with %v", out)
			}
		})
		if !strings.Contains(log.String(), "another host keeps its states there") {
			t.Error("nothing was said")
		}
	})
	r := modeltest.Follow(t, dir, &modeltest.Fake{Make: modeltest.NewCounter}, with)
	if out := modeltest.Predict(t, r, "m", "", 1); out[0] != 4 {
		t.Errorf("%v", out)
	}
}

type testLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *testLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// slow is a counter whose rows take a while. If it is stopped during a row, it
// forgets everything.
type slow struct {
	modeltest.Counter
	row time.Duration
}

func (s *slow) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	for i := range out {
		select {
		case <-time.After(s.row):
		case <-ctx.Done():
			s.Rows = 0
			return ctx.Err()
		}
		out[i] = float64(s.Rows)
	}
	return nil
}

// TestDeadlineBetweenRows checks that a request that runs out of time stops after a
// whole row, and that nothing learned is lost.
func TestDeadlineBetweenRows(t *testing.T) { synctest.Test(t, testDeadlineBetweenRows) }

func testDeadlineBetweenRows(t *testing.T) {
	m := modeltest.OpenFake(t, modeltest.Simple("m", "1.0.0")+modeltest.Online+"limits: {timeout: 200ms}\n", nil, func(*manifest.Manifest) sdk.Scorer {
		return &slow{row: 30 * time.Millisecond}
	})
	out := make([]float64, 1000)
	if _, err := m.Predict(t.Context(), modeltest.RowsOf(t, m, make([]float64, 1000)...), 0, out); err == nil {
		t.Fatal("1,000 rows of 30 ms each in 200 ms")
	}
	one := make([]float64, 1)
	if _, err := m.Predict(t.Context(), modeltest.RowsOf(t, m, 0), 0, one); err != nil || one[0] == 0 {
		t.Errorf("%v, %v: what was learned before is gone", one, err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
