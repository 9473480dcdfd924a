package state_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestOnlineLearning checks that each row is scored and then learned, in order, that
// requests do not interleave, and that the probe leaves nothing in the state.
func TestOnlineLearning(t *testing.T) {
	m := modeltest.OpenFake(t, modeltest.Simple("m", "1.0.0")+modeltest.Online, nil, modeltest.NewCounter)
	out := make([]float64, 3)
	if _, err := m.Predict(t.Context(), modeltest.RowsOf(t, m, 5, 6, 7), 0, out); err != nil || out[0] != 0 || out[1] != 1 || out[2] != 2 {
		t.Fatalf("%v, %v", out, err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			out := make([]float64, 50)
			if _, err := m.Predict(t.Context(), modeltest.RowsOf(t, m, make([]float64, 50)...), 7, out); err != nil {
				t.Error(err)
			}
			for i := range out {
				if out[i] != out[0]+float64(i) {
					t.Errorf("row %d scored %v after a first %v", i, out[i], out[0])
					return
				}
			}
		})
	}
	wg.Wait()
	if err := m.Learn(t.Context(), modeltest.RowsOf(t, m, 1, 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Predict(t.Context(), modeltest.RowsOf(t, m, 0), 0, out[:1]); err != nil || out[0] != 405 {
		t.Errorf("%v, %v", out[0], err)
	}
	if _, err := m.Predict(t.Context(), modeltest.RowsOf(t, m, 0, -1, 0), 0, out); !errors.Is(err, batching.ErrScoring) {
		t.Errorf("a batch that fails half-way: %v", err)
	}
	if m.Close() != nil {
		t.Error("closing failed")
	}
}

// TestStateWithoutLearning checks that a stateful model without online learning
// scores without learning, and that a detector that cannot learn says so.
func TestStateWithoutLearning(t *testing.T) {
	m := modeltest.OpenFake(t, modeltest.Simple("m", "1.0.0"), nil, modeltest.NewCounter) // stateful according to the detector
	defer m.Close()
	out := make([]float64, 2)
	for range 2 {
		if _, err := m.Predict(t.Context(), modeltest.RowsOf(t, m, 1, 2), 0, out); err != nil || out[1] != 0 {
			t.Fatalf("%v, %v", out, err)
		}
	}
	if !m.Manifest.Stateful {
		t.Error("not known to be stateful")
	}
	plain := modeltest.OpenFake(t, modeltest.Simple("m", "1.0.0"), nil, func(*manifest.Manifest) sdk.Scorer { return modeltest.Sums{} })
	defer plain.Close()
	if err := plain.Learn(t.Context(), modeltest.RowsOf(t, plain, 1)); !errors.Is(err, model.ErrNotLearning) {
		t.Errorf("%v", err)
	}
	if state, err := plain.Save(t.Context(), nil); state != nil || err != nil {
		t.Errorf("%v, %v", state, err)
	}
}

func TestGoldenRowsOfStatefulModels(t *testing.T) {
	dir := t.TempDir()
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0")+modeltest.Online+"golden: {rows: g}\n")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "m", "1.0.0", "g"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := func() error {
		all, err := modelstore.Find(dir)
		if err != nil {
			t.Fatal(err)
		}
		m, err := all[0].Open(t.Context(), model.Backends{manifest.BackendONNX: modeltest.Bare{Make: modeltest.NewCounter}}, batching.NewCalls(1))
		if err == nil {
			defer m.Close()
		}
		return err
	}
	write(`{"data": [1], "score": 0}` + "\n" + `{"data": [1], "score": 1}` + "\n")
	if err := at(); err != nil {
		t.Error(err)
	}
	write(`{"data": [1], "score": 0}` + "\n" + `{"data": [1], "score": 7}` + "\n")
	if err := at(); err == nil || !strings.Contains(err.Error(), "the manifest expects 7") {
		t.Errorf("%v", err)
	}
}

// TestSnapshots checks that a state survives unloading, a changed manifest and the
// host. A new version, or one with a damaged snapshot, starts empty with a warning.
func TestSnapshots(t *testing.T) {
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "snapshots")
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0")+modeltest.Online)
	f := &modeltest.Fake{Make: modeltest.NewCounter}
	with := func(c *registry.Config) { c.StateDir = state }
	warnings := func(r *registry.Registry, version string) string {
		m, err := r.Peek("m", version)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(m.Warnings, "\n")
	}
	t.Run("first host", func(t *testing.T) {
		r := modeltest.Follow(t, dir, f, with)
		if w := warnings(r, ""); !strings.Contains(w, "there is no snapshot") {
			t.Errorf("warnings %q", w)
		}
		modeltest.Predict(t, r, "m", "", 10)
		if _, err := r.Unload("m", ""); err != nil {
			t.Fatal(err)
		}
		lease, err := r.Load(t.Context(), "m", "")
		if err != nil {
			t.Fatal(err)
		}
		lease.Release()
		if out := modeltest.Predict(t, r, "m", "", 1); out[0] != 10 || warnings(r, "") != "" {
			t.Errorf("after an unload %v, %q", out, warnings(r, ""))
		}
		modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0")+modeltest.Online+"description: changed\n")
		testkit.Eventually(t, "the change is taken up", func() bool {
			m, err := r.Peek("m", "")
			return err == nil && m.Manifest.Description == "changed"
		})
		if out := modeltest.Predict(t, r, "m", "", 1); out[0] != 11 {
			t.Errorf("after a change %v", out)
		}
		modeltest.WriteModel(t, dir, "m", "1.1.0", modeltest.Simple("m", "1.1.0")+modeltest.Online)
		testkit.Eventually(t, "the new version is loaded", func() bool { _, err := r.Peek("m", "1.1.0"); return err == nil })
		if out := modeltest.Predict(t, r, "m", "1.1.0", 1); out[0] != 0 || !strings.Contains(warnings(r, "1.1.0"), "there is no snapshot") {
			t.Errorf("a new version %v, %q", out, warnings(r, "1.1.0"))
		}
	})
	t.Run("second host", func(t *testing.T) {
		r := modeltest.Follow(t, dir, f, with)
		if out := modeltest.Predict(t, r, "m", "1.0.0", 1); out[0] != 12 {
			t.Errorf("after a restart %v", out)
		}
	})
	name := snapshotFile(t, state, "m@1.0.0")
	if err := os.WriteFile(name, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("damaged", func(t *testing.T) {
		r := modeltest.Follow(t, dir, f, with)
		if out := modeltest.Predict(t, r, "m", "1.0.0", 1); out[0] != 0 || !strings.Contains(warnings(r, "1.0.0"), "damaged") {
			t.Errorf("%v, %q", out, warnings(r, "1.0.0"))
		}
		if data, err := os.ReadFile(name + ".unusable"); err != nil || string(data) != "nonsense" {
			t.Errorf("it is not put aside: %q, %v", data, err)
		}
	})
}

// TestSnapshotsOfOthers checks that a snapshot that another user put there is not
// loaded and does not block the host.
func TestSnapshotsOfOthers(t *testing.T) {
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "snapshots")
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0")+modeltest.Online)
	f := &modeltest.Fake{Make: modeltest.NewCounter}
	with := func(c *registry.Config) { c.StateDir = state }
	t.Run("first host", func(t *testing.T) { modeltest.Predict(t, modeltest.Follow(t, dir, f, with), "m", "", 10) })
	name := snapshotFile(t, state, "m@1.0.0")
	elsewhere := filepath.Join(t.TempDir(), "state")
	if err := os.Rename(name, elsewhere); err != nil {
		t.Fatal(err)
	}
	for kind, put := range map[string]func() error{
		"a pipe": func() error { return unix.Mkfifo(name, 0o600) },
		"a link": func() error { return os.Symlink(elsewhere, name) },
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		t.Run(kind, func(t *testing.T) {
			r := modeltest.Follow(t, dir, f, with)
			m, err := r.Peek("m", "")
			if err != nil || !strings.Contains(strings.Join(m.Warnings, "\n"), "the snapshot cannot be used") {
				t.Errorf("%v, warnings %v", err, m.Warnings)
			}
			if out := modeltest.Predict(t, r, "m", "", 1); out[0] != 0 {
				t.Errorf("it knows %v rows", out[0])
			}
		})
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSnapshotInterval checks that snapshots are taken while the model serves.
func TestSnapshotInterval(t *testing.T) {
	dir, state := t.TempDir(), filepath.Join(t.TempDir(), "snapshots")
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0")+modeltest.Online+"snapshot_interval: 10ms\n")
	r := modeltest.Follow(t, dir, &modeltest.Fake{Make: modeltest.NewCounter}, func(c *registry.Config) { c.StateDir = state; c.Log = slog.New(slog.DiscardHandler) })
	modeltest.Predict(t, r, "m", "", 7)
	testkit.Eventually(t, "a snapshot holds what was learned", func() bool {
		names, _ := filepath.Glob(filepath.Join(state, "m@1.0.0-*.state"))
		if len(names) != 1 {
			return false
		}
		data, err := os.ReadFile(names[0])
		return err == nil && len(data) > 8 && data[len(data)-8] == 7
	})
}

// snapshotFile returns the only snapshot of a version.
func snapshotFile(t *testing.T, dir, version string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, version+"-*.state"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	return names[0]
}
