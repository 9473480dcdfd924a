package catalog_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// watched is a registry whose catalog has a settable clock and a readable log.
type watched struct {
	*registry.Registry
	dir string
	now *modeltest.Clock
	log *modeltest.Logged
}

const confirm = time.Minute

func watch(t *testing.T, dir string, change func(*catalog.Catalog)) *watched {
	t.Helper()
	w := &watched{dir: dir, now: modeltest.NewClock(), log: &modeltest.Logged{}}
	log := slog.New(slog.NewTextHandler(w.log, nil))
	w.Registry = modeltest.Start(t, dir, modeltest.NewFake(), func(c *registry.Config) { c.Log = log }, func(c *catalog.Catalog) {
		c.Log, c.Now, c.ConfirmAfter, c.AllowEmpty = log, w.now.Now, confirm, false
		if change != nil {
			change(c)
		}
	})
	return w
}

func (w *watched) serves(t *testing.T, id, v string) {
	t.Helper()
	testkit.Eventually(t, id+" "+v+" serves", func() bool { return modeltest.StateOf(t, w.Registry, id, v).State == registry.StateLoaded })
	modeltest.VersionOf(t, w.Registry, id, v, "")
}

func (w *watched) gone(t *testing.T, id, v string) {
	t.Helper()
	testkit.Eventually(t, id+" "+v+" is gone", func() bool { return modeltest.StateOf(t, w.Registry, id, v).ID == "" })
}

func models(t *testing.T, dir string, keys ...string) {
	t.Helper()
	for _, key := range keys {
		id, v, _ := strings.Cut(key, "@")
		modeltest.WriteModel(t, dir, id, v, modeltest.Simple(id, v))
	}
}

// TestUnreadable checks that a directory that cannot be listed says nothing about
// its contents. As root, the catalog runs as another user.
func TestUnreadable(t *testing.T) {
	dir := modeltest.OpenDir(t)
	models(t, dir, "m@1.0.0", "m@2.0.0", "n@1.0.0", "n@2.0.0", "other@1.0.0")
	w := watch(t, dir, nil)
	for _, key := range []string{"m@1.0.0", "m@2.0.0", "n@1.0.0", "n@2.0.0"} {
		id, v, _ := strings.Cut(key, "@")
		w.serves(t, id, v)
	}
	all, one := filepath.Join(dir, "m"), filepath.Join(dir, "n", "2.0.0")
	close := func(mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.Chmod(all, mode), os.Chmod(one, mode)); err != nil {
			t.Fatal(err)
		}
	}
	close(0)
	t.Cleanup(func() { close(0o755) })
	for range 2 { // it stays so in every scan
		testkit.Eventually(t, "the versions say that they cannot be read", func() bool {
			for _, s := range []registry.Status{modeltest.StateOf(t, w.Registry, "m", "1.0.0"), modeltest.StateOf(t, w.Registry, "m", "2.0.0"), modeltest.StateOf(t, w.Registry, "n", "2.0.0")} {
				if s.State != registry.StateLoaded || s.Error == nil || s.Failure != registry.FailureSurroundings || !strings.Contains(s.Error.Error(), "permission denied") {
					return false
				}
			}
			return true
		})
		models(t, dir, "late@1.0.0")
		w.serves(t, "late", "1.0.0")
		if err := os.RemoveAll(filepath.Join(dir, "late")); err != nil {
			t.Fatal(err)
		}
		w.gone(t, "late", "1.0.0")
	}
	list, err := w.List("m")
	if err != nil || len(list) != 2 {
		t.Errorf("%d versions, %v", len(list), err)
	}
	if s := modeltest.StateOf(t, w.Registry, "n", "1.0.0"); s.Error != nil {
		t.Errorf("the version beside: %v", s.Error)
	}
	w.serves(t, "m", "2.0.0")
	if n := w.log.Count("cannot be read for now"); n != 3 {
		t.Errorf("logged %d times, want once for each of 3 versions", n)
	}
	// An unknown model is listed with the reason.
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "new"), 0o755), os.Chmod(filepath.Join(dir, "new"), 0)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "an unknown model is listed", func() bool {
		list, err := w.List("new")
		return err == nil && len(list) == 1 && list[0].State == registry.StateFailed && list[0].Failure == registry.FailureSurroundings
	})
	close(0o755)
	testkit.Eventually(t, "they can be read again", func() bool {
		return modeltest.StateOf(t, w.Registry, "m", "1.0.0").Error == nil && modeltest.StateOf(t, w.Registry, "n", "2.0.0").Error == nil
	})
	if n := w.log.Count("model removed"); n != 2 { // the removal of late, twice
		t.Errorf("%d models were removed", n)
	}
}

// TestUnmounted checks that an emptied or replaced directory is believed only after
// a time, and an empty one only if the configuration allows it.
func TestUnmounted(t *testing.T) {
	dir := filepath.Join(modeltest.OpenDir(t), "models")
	away := dir + "-away"
	unmount := func() {
		t.Helper()
		if err := errors.Join(os.Rename(dir, away), os.Mkdir(dir, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	mount := func() {
		t.Helper()
		if err := errors.Join(os.Remove(dir), os.Rename(away, dir)); err != nil {
			t.Fatal(err)
		}
	}
	models(t, dir, "m@1.0.0", "n@1.0.0")
	w := watch(t, dir, nil)
	w.serves(t, "m", "1.0.0")
	w.serves(t, "n", "1.0.0")
	empty := func() bool {
		s := modeltest.StateOf(t, w.Registry, "m", "1.0.0")
		return s.Error != nil && strings.Contains(s.Error.Error(), "turned empty")
	}
	for n := range 2 {
		unmount()
		testkit.Eventually(t, "the versions say so", empty)
		now := w.log.Count("has lost versions")
		w.now.Advance(24 * time.Hour)
		mount()
		testkit.Eventually(t, "all is well again", func() bool { return modeltest.StateOf(t, w.Registry, "m", "1.0.0").Error == nil })
		w.serves(t, "m", "1.0.0")
		if why := w.NotReady(); why != "" || now != n+1 {
			t.Errorf("not ready: %q; logged %d times", why, now)
		}
	}
	// What is in the new directory is loaded at once. What it lacks is removed after
	// the time.
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	models(t, dir+"-next", "m@1.0.0", "m@2.0.0")
	if err := os.Rename(dir+"-next", dir); err != nil {
		t.Fatal(err)
	}
	w.serves(t, "m", "2.0.0")
	w.serves(t, "n", "1.0.0")
	if s := modeltest.StateOf(t, w.Registry, "n", "1.0.0"); s.Error == nil || !strings.Contains(s.Error.Error(), "another one") {
		t.Errorf("%+v", s)
	}
	w.now.Advance(confirm)
	w.gone(t, "n", "1.0.0")
	w.serves(t, "m", "1.0.0")
}

// TestAllowEmpty checks that if it is allowed, an emptied directory removes all
// models after a time. If the models' folders remain, the removal is intended and
// takes effect at once.
func TestAllowEmpty(t *testing.T) {
	dir := modeltest.OpenDir(t)
	models(t, dir, "m@1.0.0")
	w := watch(t, dir, func(c *catalog.Catalog) { c.AllowEmpty = true })
	w.serves(t, "m", "1.0.0")
	if err := os.Rename(filepath.Join(dir, "m"), filepath.Join(t.TempDir(), "m")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it is doubted", func() bool { return modeltest.StateOf(t, w.Registry, "m", "1.0.0").Error != nil })
	w.serves(t, "m", "1.0.0")
	w.now.Advance(confirm)
	w.gone(t, "m", "1.0.0")
	if why := w.NotReady(); why != "" {
		t.Errorf("an empty host: %q", why)
	}

	dir = modeltest.OpenDir(t)
	models(t, dir, "m@1.0.0")
	w = watch(t, dir, nil)
	w.serves(t, "m", "1.0.0")
	if err := os.RemoveAll(filepath.Join(dir, "m", "1.0.0")); err != nil {
		t.Fatal(err)
	}
	w.gone(t, "m", "1.0.0")
}

// TestMissingDirectory checks that a missing directory is logged once, that the host
// names it as the reason for not being ready, and that models are loaded once it
// exists.
func TestMissingDirectory(t *testing.T) {
	dir := filepath.Join(modeltest.OpenDir(t), "models")
	w := watch(t, dir, nil)
	want := "the models directory " + dir + " is not there: make it, or name another with --models"
	testkit.Eventually(t, "the host says why it is not ready", func() bool { return w.NotReady() == want })
	if err := os.WriteFile(dir, nil, 0o644); err != nil { // another error
		t.Fatal(err)
	}
	testkit.Eventually(t, "the reason changes", func() bool { return strings.Contains(w.NotReady(), "not a directory") })
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the reason is as before", func() bool { return w.NotReady() == want })
	models(t, dir, "m@1.0.0")
	w.serves(t, "m", "1.0.0")
	testkit.Eventually(t, "the host is ready", func() bool { return w.NotReady() == "" })
	if n := w.log.Count("reading the models directory failed"); n != 3 {
		t.Errorf("logged %d times, want once for each change", n)
	}
}
