package registry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

func TestVersionsAndAliases(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"1.0.0", "1.1.0", "2.0.0-rc.1"} {
		modeltest.WriteModel(t, dir, "m", v, modeltest.Simple("m", v))
	}
	modeltest.WriteModel(t, dir, "pre", "1.0.0-a", modeltest.Simple("pre", "1.0.0-a"))
	modeltest.WriteModel(t, dir, "pre", "1.0.0-b", modeltest.Simple("pre", "1.0.0-b"))
	modeltest.WriteModel(t, dir, "broken", "1.0.0", modeltest.Simple("broken", "1.0.0"))
	modeltest.WriteModel(t, dir, "broken", "2.0.0", "id: broken")
	r := modeltest.Follow(t, dir, modeltest.NewFake(), nil)
	aliases := map[string]registry.Aliases{
		"m":      {Names: map[string]string{"stable": "1.0.0", "canary": "1.1.0"}, Default: map[string]int{"stable": 90, "canary": 10}},
		"broken": {Names: map[string]string{"next": "2.0.0", "now": "1.0.0"}},
	}
	if errs := r.SetAliases(t.Context(), aliases); len(errs) != 1 {
		t.Errorf("errors %v, want one for the version that does not load", errs)
	}
	for _, c := range []struct{ id, version, want string }{
		{"m", "1.0.0", "1.0.0"}, {"m", "stable", "1.0.0"}, {"m", "canary", "1.1.0"}, {"m", "latest", "1.1.0"}, {"m", "2.0.0-rc.1", "2.0.0-rc.1"},
		{"pre", "", "1.0.0-b"}, {"broken", "", "1.0.0"}, {"broken", "now", "1.0.0"},
	} {
		if got := modeltest.VersionOf(t, r, c.id, c.version, ""); got != c.want {
			t.Errorf("%s %q is %s, want %s", c.id, c.version, got, c.want)
		}
	}
	counts := map[string]int{}
	for i := range 1000 {
		key := fmt.Sprint("caller-", i)
		v := modeltest.VersionOf(t, r, "m", "", key)
		if again := modeltest.VersionOf(t, r, "m", "", key); again != v {
			t.Fatalf("caller %s moved from %s to %s", key, v, again)
		}
		counts[v]++
	}
	if n := counts["1.1.0"]; n < 50 || n > 160 {
		t.Errorf("%d of 1000 callers reached the canary, want about 100", n)
	}
	for _, c := range []struct {
		id, version string
		want        error
	}{{"none", "", registry.ErrModelNotFound}, {"m", "3.0.0", registry.ErrVersionNotFound}, {"broken", "2.0.0", batching.ErrUnavailable}, {"", "", registry.ErrAmbiguousModel}, {"broken", "next", batching.ErrUnavailable}} {
		if _, err := r.Acquire(t.Context(), c.id, c.version, ""); !errors.Is(err, c.want) {
			t.Errorf("%s %q: %v, want %v", c.id, c.version, err, c.want)
		}
	}
}

func TestCatalogFollowsTheDirectory(t *testing.T) {
	dir := t.TempDir()
	modeltest.WriteModel(t, dir, "stays", "1.0.0", modeltest.Simple("stays", "1.0.0"))
	f := modeltest.NewFake()
	r := modeltest.Follow(t, dir, f, nil)
	modeltest.WriteModel(t, dir, "new", "1.0.0", modeltest.Simple("new", "1.0.0"))
	testkit.Eventually(t, "a model dropped in is served", func() bool { return modeltest.StateOf(t, r, "new", "1.0.0").State == registry.StateLoaded })

	// A broken change keeps the running version and is reported.
	at := filepath.Join(dir, "new", "1.0.0", manifest.FileName)
	if err := os.WriteFile(at, []byte(modeltest.Simple("new", "1.0.0")+"unknown: 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the broken change is reported", func() bool { return modeltest.StateOf(t, r, "new", "1.0.0").Error != nil })
	if s := modeltest.StateOf(t, r, "new", "1.0.0"); s.State != registry.StateLoaded || !strings.Contains(s.Error.Error(), "unknown key") {
		t.Errorf("%+v", s)
	}
	modeltest.VersionOf(t, r, "new", "", "")

	// A change is installed, and the counters continue.
	if err := os.WriteFile(at, []byte(strings.Replace(modeltest.Simple("new", "1.0.0"), "threshold: 1", "threshold: 7", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the change is taken up", func() bool {
		l, err := r.Acquire(t.Context(), "new", "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
		threshold, _ := l.Model().Threshold()
		return threshold == 7 && modeltest.StateOf(t, r, "new", "1.0.0").Error == nil
	})

	// An incomplete directory is ignored.
	if err := os.MkdirAll(filepath.Join(dir, "half", "1.0.0"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "half", "1.0.0", "a"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "a half copied model is listed as failed", func() bool { return modeltest.StateOf(t, r, "half", "1.0.0").State == registry.StateFailed })
	modeltest.WriteModel(t, dir, "half", "1.0.0", modeltest.Simple("half", "1.0.0"))
	testkit.Eventually(t, "it is served when the rest has come", func() bool { return modeltest.StateOf(t, r, "half", "1.0.0").State == registry.StateLoaded })

	if err := os.RemoveAll(filepath.Join(dir, "new")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "a removed model is gone", func() bool {
		l, err := r.Acquire(t.Context(), "new", "", "")
		if err == nil {
			l.Release()
		}
		return errors.Is(err, registry.ErrModelNotFound)
	})
	modeltest.VersionOf(t, r, "stays", "", "")
}

func TestEviction(t *testing.T) {
	dir := t.TempDir()
	for i := range 6 {
		id := fmt.Sprint("m", i)
		modeltest.WriteModel(t, dir, id, "1.0.0", modeltest.Simple(id, "1.0.0"))
	}
	f := modeltest.NewFake()
	r := modeltest.Follow(t, dir, f, func(c *registry.Config) {
		c.CacheSize, c.Lazy, c.Pinned, c.Preload = 3, true, []string{"m0"}, []string{"m0"}
	})
	if s := modeltest.StateOf(t, r, "m0", "1.0.0"); s.State != registry.StateLoaded {
		t.Fatalf("the preloaded model is %s", s.State)
	}
	for i := range 6 {
		modeltest.VersionOf(t, r, fmt.Sprint("m", i), "", "")
	}
	want := map[string]registry.State{"m0": registry.StateLoaded, "m3": registry.StateAvailable, "m4": registry.StateLoaded, "m5": registry.StateLoaded}
	for id, s := range want {
		if got := modeltest.StateOf(t, r, id, "1.0.0").State; got != s {
			t.Errorf("%s is %s, want %s", id, got, s)
		}
	}
	// With everything leased or pinned, another load fails for lack of room.
	var leases []*registry.Lease
	for _, id := range []string{"m4", "m5"} {
		l, err := r.Acquire(t.Context(), id, "", "")
		if err != nil {
			t.Fatal(err)
		}
		leases = append(leases, l)
	}
	if _, err := r.Acquire(t.Context(), "m1", "", ""); !errors.Is(err, batching.ErrUnavailable) || !strings.Contains(err.Error(), "cache is full") {
		t.Errorf("load without room: %v", err)
	}
	for _, l := range leases {
		l.Release()
	}
	modeltest.VersionOf(t, r, "m1", "", "")
}

func TestUnload(t *testing.T) {
	dir := t.TempDir()
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0"))
	f := modeltest.NewFake()
	r := modeltest.Follow(t, dir, f, nil)
	l, err := r.Acquire(t.Context(), "m", "", "")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Unload("m", ""); err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	if _, err := r.Acquire(t.Context(), "m", "", ""); !errors.Is(err, batching.ErrUnavailable) {
		t.Errorf("an unloaded model answers %v", err)
	}
	if _, closed := f.Counts(); closed != 0 {
		t.Error("a leased model was closed")
	}
	l.Release()
	testkit.Eventually(t, "the model is closed after its last lease", func() bool { _, closed := f.Counts(); return closed == 1 })
	l, err = r.Load(t.Context(), "m", "")
	if err != nil {
		t.Fatal(err)
	}
	l.Release()
	modeltest.VersionOf(t, r, "m", "", "")
}

// TestLoadsAreSingleFlight requests the same unloaded models from many goroutines
// while others are evicted.
func TestLoadsAreSingleFlight(t *testing.T) {
	dir := t.TempDir()
	const models = 5
	for i := range models {
		id := fmt.Sprint("m", i)
		modeltest.WriteModel(t, dir, id, "1.0.0", modeltest.Simple(id, "1.0.0"))
	}
	f := modeltest.NewFake()
	r := modeltest.Follow(t, dir, f, func(c *registry.Config) { c.Lazy, c.CacheSize = true, models })
	var wg sync.WaitGroup
	var failed atomic.Int64
	for i := range 200 {
		wg.Go(func() {
			l, err := r.Acquire(t.Context(), fmt.Sprint("m", i%models), "", "")
			if err != nil {
				failed.Add(1)
				return
			}
			l.Release()
		})
	}
	wg.Wait()
	if opened, _ := f.Counts(); opened != models || failed.Load() != 0 {
		t.Errorf("%d models opened, want %d; %d requests failed", opened, models, failed.Load())
	}
}

func TestImmutable(t *testing.T) {
	dir := t.TempDir()
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0"))
	r := modeltest.Follow(t, dir, modeltest.NewFake(), func(c *registry.Config) { c.Immutable = true })
	if err := os.WriteFile(filepath.Join(dir, "m", "1.0.0", "a"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the changed artifact is refused", func() bool { return modeltest.StateOf(t, r, "m", "1.0.0").Error != nil })
	if s := modeltest.StateOf(t, r, "m", "1.0.0"); !errors.Is(s.Error, model.ErrConflict) || s.State != registry.StateLoaded {
		t.Errorf("%+v", s)
	}
}

// TestOnly checks that the host serves only what it is told to, and is ready when
// that has loaded with the required contents.
func TestOnly(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"1.0.0", "1.1.0"} {
		modeltest.WriteModel(t, dir, "m", v, modeltest.Simple("m", v))
	}
	all, err := modelstore.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := all[slices.IndexFunc(all, func(p modelstore.Place) bool { return p.Version == "1.0.0" })].ContentDigest()
	if err != nil {
		t.Fatal(err)
	}
	only := func(text string) *registry.Registry {
		t.Helper()
		o, err := registry.ParseOnly(text)
		if err != nil {
			t.Fatal(err)
		}
		return modeltest.Follow(t, dir, modeltest.NewFake(), func(c *registry.Config) { c.Only = []registry.Only{o} })
	}
	r := only("m@1.0.0=" + digest)
	list, err := r.List("m")
	if err != nil || len(list) != 1 || list[0].Version != "1.0.0" || list[0].State != registry.StateLoaded || list[0].Facts.Content != digest {
		t.Errorf("%+v, %v", list, err)
	}
	only("m@1.1.0")
	o := registry.Only{ID: "m", Version: "1.1.0", Digest: digest}
	cfg := registry.Config{Dir: dir, CacheSize: 1, Named: registry.Named{Only: []registry.Only{o}}, Now: time.Now, Log: slog.New(slog.DiscardHandler), Observe: testkit.Silent{}}
	refused, err := registry.New(cfg, model.Backends{manifest.BackendONNX: modeltest.NewFake()}, batching.NewCalls(1))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := catalog.Catalog{Dir: dir, Rescan: 50 * time.Millisecond, Settle: 10 * time.Millisecond, Now: time.Now, Log: cfg.Log, Apply: refused.Apply}
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Follow(ctx) })
	testkit.Eventually(t, "it is refused", func() bool {
		list, err := refused.List("m")
		return err == nil && len(list) == 1 && list[0].Error != nil && strings.Contains(list[0].Error.Error(), "models.only asks for "+digest)
	})
	select {
	case <-refused.Ready():
		t.Error("it is ready without its model")
	default:
	}
	cancel()
	wg.Wait()
	if err := refused.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "m", "m@", "@1.0.0", "m@x", "m@1.0.0=", "m@1.0.0=sha256:ab"} {
		if _, err := registry.ParseOnly(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
