package registry_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// TestPanicAtLoad checks that a panic while a model is opened fails that load.
func TestPanicAtLoad(t *testing.T) {
	dir := t.TempDir()
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0"))
	f := modeltest.NewFake()
	var mended atomic.Bool
	f.Before = func(context.Context, *manifest.Manifest) error {
		if !mended.Load() {
			panic("at the start")
		}
		return nil
	}
	r := modeltest.Follow(t, dir, f, nil)
	_, err := r.Acquire(t.Context(), "m", "", "")
	if !errors.Is(err, batching.ErrUnavailable) || !strings.Contains(err.Error(), "it panicked: at the start") {
		t.Errorf("%v; want that it panicked", err)
	}
	mended.Store(true)
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0")+"description: another\n")
	testkit.Eventually(t, "it is loaded", func() bool { return modeltest.StateOf(t, r, "m", "1.0.0").State == registry.StateLoaded })
}
