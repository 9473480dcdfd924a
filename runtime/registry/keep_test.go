package registry_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// TestStateDirectoryRemoved checks that a removed directory of snapshots is made
// again, and that failing to keep a state at the stop is an error.
func TestStateDirectoryRemoved(t *testing.T) {
	dir, base := t.TempDir(), t.TempDir()
	state := filepath.Join(base, "snapshots")
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0")+modeltest.Online)
	host := func() *registry.Registry {
		r, err := registry.New(registry.Config{
			Dir: dir, CacheSize: 1, StateDir: state, Now: time.Now, Random: func() float64 { return 0 },
			Log: slog.New(slog.DiscardHandler), Observe: testkit.Silent{},
		}, model.Backends{manifest.BackendONNX: &modeltest.Fake{Make: modeltest.NewCounter}}, batching.NewCalls(1))
		if err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		found, err := catalog.Scan(root)
		if err != nil {
			t.Fatal(err)
		}
		r.Apply(t.Context(), found)
		<-r.Ready()
		return r
	}
	r := host()
	modeltest.Predict(t, r, "m", "", 4)
	if err := os.RemoveAll(base); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Errorf("a directory that was removed: %v", err)
	}
	r = host()
	if out := modeltest.Predict(t, r, "m", "", 1); out[0] != 4 {
		t.Errorf("%v rows are known of 4", out[0])
	}
	// Not even root can make a directory below a file.
	if err := errors.Join(os.RemoveAll(base), os.WriteFile(base, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Unload("m", ""); err != nil { // its state waits in memory for a directory
		t.Fatal(err)
	}
	if err := r.Close(context.Background()); err == nil || !strings.Contains(err.Error(), "m@1.0.0") {
		t.Errorf("a state that is lost: %v", err)
	}
}
