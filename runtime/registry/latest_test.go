package registry_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// TestLatestIsOneVersion checks that if the newest version cannot be loaded because
// all loaded models are in use, requests for it fail with that reason and no other
// version answers them.
func TestLatestIsOneVersion(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"1.0.0", "2.0.0", "3.0.0-rc.1"} {
		modeltest.WriteModel(t, dir, "m", v, modeltest.Simple("m", v))
	}
	r := modeltest.Follow(t, dir, modeltest.NewFake(), func(c *registry.Config) { c.CacheSize, c.Lazy = 1, true })
	held, err := r.Acquire(t.Context(), "m", "1.0.0", "")
	modeltest.Check(t, err)
	for _, name := range []string{"", "latest"} {
		_, err := r.Acquire(t.Context(), "m", name, "")
		var unavailable *model.UnavailableError
		if !errors.As(err, &unavailable) || unavailable.Version != "2.0.0" || unavailable.RetryAfter < time.Second || !strings.Contains(err.Error(), "the cache is full") {
			t.Errorf("%q: %v", name, err)
		}
	}
	held.Release()
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
				if l, err := r.Acquire(t.Context(), "m", "1.0.0", ""); err == nil {
					l.Release()
				}
			}
		})
	}
	for i := range 200 {
		l, err := r.Acquire(t.Context(), "m", []string{"", "latest"}[i%2], "")
		if err != nil {
			if !errors.Is(err, batching.ErrUnavailable) {
				t.Error(err)
			}
			continue
		}
		if v := l.Model().Version(); v != "2.0.0" {
			t.Errorf("answered by %s", v)
		}
		l.Release()
	}
	close(stop)
	wg.Wait()
	// A version that is unloaded on request is not the newest any more.
	for _, c := range []struct{ unload, want string }{{"2.0.0", "1.0.0"}, {"1.0.0", "3.0.0-rc.1"}} {
		_, err = r.Unload("m", c.unload)
		modeltest.Check(t, err)
		if v := modeltest.VersionOf(t, r, "m", "", ""); v != c.want {
			t.Errorf("without %s: %s", c.unload, v)
		}
	}
	_, err = r.Unload("m", "latest")
	modeltest.Check(t, err)
	if _, err := r.Acquire(t.Context(), "m", "", ""); !errors.Is(err, batching.ErrUnavailable) || !strings.Contains(err.Error(), "2.0.0 is unavailable: it was unloaded") {
		t.Errorf("%v", err)
	}
}

// TestDamagedLatest checks that a version whose files are at fault is skipped,
// whether it was there before the start, is discovered by a request, or appears
// later. A version that fails because of the surroundings is not skipped, unless it
// appeared while another answered.
func TestDamagedLatest(t *testing.T) {
	for name, lazy := range map[string]bool{"eager": false, "lazy": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, v := range []string{"1.0.0", "2.0.0", "3.0.0"} {
				modeltest.WriteModel(t, dir, "m", v, modeltest.Simple("m", v))
			}
			var full atomic.Bool
			f := modeltest.NewFake()
			f.Before = func(_ context.Context, m *manifest.Manifest) error {
				switch {
				case m.Version == "3.0.0" || m.Version == "4.0.0":
					return errVerdict
				case m.Version == "2.0.0" && full.Load(), m.Version == "5.0.0":
					return errFull
				}
				return nil
			}
			full.Store(true)
			r := modeltest.Follow(t, dir, f, func(c *registry.Config) { c.Lazy = lazy })
			_, err := r.Acquire(t.Context(), "m", "", "")
			var unavailable *model.UnavailableError
			if !errors.As(err, &unavailable) || unavailable.Version != "2.0.0" || !strings.Contains(err.Error(), "no space left") || unavailable.RetryAfter < time.Second {
				t.Errorf("%v", err)
			}
			full.Store(false)
			l, err := r.Load(t.Context(), "m", "2.0.0")
			modeltest.Check(t, err)
			l.Release()
			for _, v := range []string{"4.0.0", "5.0.0"} {
				modeltest.WriteModel(t, dir, "m", v, modeltest.Simple("m", v))
				want := registry.StateFailed
				if lazy {
					want = registry.StateAvailable
				}
				testkit.Eventually(t, v+" is there", func() bool {
					if v := modeltest.VersionOf(t, r, "m", "2.0.0", ""); v != "2.0.0" {
						t.Error(v)
					}
					return modeltest.StateOf(t, r, "m", v).State == want
				})
				if lazy && v == "5.0.0" {
					_, err := r.Acquire(t.Context(), "m", "", "")
					if !errors.As(err, &unavailable) || unavailable.Version != "5.0.0" {
						t.Errorf("%v", err)
					}
				} else if got := modeltest.VersionOf(t, r, "m", "", ""); got != "2.0.0" {
					t.Errorf("with %s: %s", v, got)
				}
			}
		})
	}
}

// TestOddVersions checks that two versions with the same contents are two versions,
// and that versions that differ only in build metadata are refused.
func TestOddVersions(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"1.0.0", "1.1.0", "2.0.0+a", "2.0.0+b"} {
		modeltest.WriteModel(t, dir, "m", v, modeltest.Simple("m", v))
		modeltest.Check(t, os.WriteFile(filepath.Join(dir, "m", v, "a"), []byte("the same"), 0o600))
	}
	modeltest.Check(t, os.Mkdir(filepath.Join(dir, "m", "1.11"), 0o750))
	f := modeltest.NewFake()
	r := modeltest.Follow(t, dir, f, nil)
	if v := modeltest.VersionOf(t, r, "m", "", ""); v != "1.1.0" {
		t.Error(v)
	}
	if v := modeltest.VersionOf(t, r, "m", "1.0.0", ""); v != "1.0.0" || f.Tries("m@1.0.0") != 1 || f.Tries("m@1.1.0") != 1 {
		t.Error(v)
	}
	for _, v := range []string{"2.0.0", "1.11", "2.0.0+a"} {
		if _, err := r.Acquire(t.Context(), "m", v, ""); !errors.Is(err, registry.ErrVersionNotFound) {
			t.Errorf("%s: %v", v, err)
		}
	}
	all, err := r.List("m")
	modeltest.Check(t, err)
	failed := slices.DeleteFunc(all, func(s registry.Status) bool { return s.State != registry.StateFailed })
	if len(failed) != 3 || slices.ContainsFunc(failed, func(s registry.Status) bool {
		return !strings.Contains(s.Error.Error(), "is not named by a semantic version such as 1.")
	}) {
		t.Errorf("%+v", failed)
	}
	if why := r.NotReady(); why != "" {
		t.Error(why)
	}
}
