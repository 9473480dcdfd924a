package registry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// failing makes the loads of some models fail on demand.
type failing struct {
	mu  sync.Mutex
	why map[string]error // by id
}

func (f *failing) set(id string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.why == nil {
		f.why = map[string]error{}
	}
	f.why[id] = err
}

// of returns why a load of the named model fails.
func (f *failing) of(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.why[name]
}

func (f *failing) open(_ context.Context, m *manifest.Manifest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.why[m.ID]
}

var (
	errFull    = fmt.Errorf("%w: writing: %w", backends.ErrRefused, syscall.ENOSPC) // the error of a careless backend
	errVerdict = fmt.Errorf("%w: operator NonZero", backends.ErrRefused)
)

// looked waits until the catalog has scanned again, which it detects by a new model.
func looked(t *testing.T, r *registry.Registry, dir, id string) {
	t.Helper()
	modeltest.WriteModel(t, dir, id, "1.0.0", modeltest.Simple(id, "1.0.0"))
	testkit.Eventually(t, id+" is loaded", func() bool { return modeltest.StateOf(t, r, id, "1.0.0").State == registry.StateLoaded })
}

// TestRetries checks that a load that failed because of the surroundings is retried
// at growing intervals, and that the host becomes ready when it succeeds.
func TestRetries(t *testing.T) {
	dir, now, log := t.TempDir(), modeltest.NewClock(), &modeltest.Logged{}
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0"))
	var bad failing
	bad.set("m", errFull)
	f := modeltest.NewFake()
	f.Before = bad.open
	r := modeltest.Follow(t, dir, f, func(c *registry.Config) { c.Now, c.Log = now.Now, slog.New(slog.NewTextHandler(log, nil)) })
	for n, wait := range []time.Duration{5, 10, 20, 40, 80, 160, 300, 300} {
		wait *= time.Second
		testkit.Eventually(t, fmt.Sprint("attempt ", n+1), func() bool {
			s := modeltest.StateOf(t, r, "m", "1.0.0")
			return f.Tries("m@1.0.0") == n+1 && s.State == registry.StateFailed && s.RetryAt.Equal(now.Now().Add(wait))
		})
		s := modeltest.StateOf(t, r, "m", "1.0.0")
		if s.Failure != registry.FailureSurroundings || !errors.Is(s.Error, syscall.ENOSPC) {
			t.Fatalf("%+v", s)
		}
		if why := r.NotReady(); !strings.Contains(why, "m@1.0.0 was not loaded") || !strings.Contains(why, "no space left") {
			t.Errorf("not ready: %q", why)
		}
		var unavailable *model.UnavailableError
		if _, err := r.Acquire(t.Context(), "m", "", ""); !errors.As(err, &unavailable) || unavailable.RetryAfter != wait {
			t.Errorf("a request: %v, %+v", err, unavailable)
		}
		if n == 7 {
			bad.set("m", nil)
		}
		now.Advance(wait)
	}
	testkit.Eventually(t, "it is loaded", func() bool { return modeltest.StateOf(t, r, "m", "1.0.0").State == registry.StateLoaded })
	if s := modeltest.StateOf(t, r, "m", "1.0.0"); s.Error != nil || s.Failure != "" || !s.RetryAt.IsZero() {
		t.Errorf("%+v", s)
	}
	if why := r.NotReady(); why != "" {
		t.Errorf("not ready: %q", why)
	}
	modeltest.VersionOf(t, r, "m", "", "")
	if n := log.Count("model not loaded"); n != 8 || log.Count("failure=surroundings") != 8 || log.Count("retry_at=") != 8 {
		t.Errorf("%d failures are logged", n)
	}
}

// TestVerdictsHold checks that a failure because of the files is not retried
// automatically, however much time passes.
func TestVerdictsHold(t *testing.T) {
	dir, now := t.TempDir(), modeltest.NewClock()
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0"))
	modeltest.WriteModel(t, dir, "good", "1.0.0", modeltest.Simple("good", "1.0.0"))
	var bad failing
	bad.set("m", errVerdict)
	f := modeltest.NewFake()
	f.Before = bad.open
	r := modeltest.Follow(t, dir, f, func(c *registry.Config) { c.Now = now.Now })
	for n := range 3 {
		now.Advance(24 * time.Hour)
		looked(t, r, dir, fmt.Sprint("other", n))
	}
	if s := modeltest.StateOf(t, r, "m", "1.0.0"); s.Failure != registry.FailureFile || !s.RetryAt.IsZero() || f.Tries("m@1.0.0") != 1 {
		t.Errorf("%d tries, %+v", f.Tries("m@1.0.0"), s)
	}
	if why := r.NotReady(); why != "" {
		t.Errorf("others answer, and yet: %q", why)
	}
	// A request to load retries it.
	if _, err := r.Load(t.Context(), "m", "1.0.0"); err == nil || f.Tries("m@1.0.0") != 2 {
		t.Errorf("%v after %d tries", err, f.Tries("m@1.0.0"))
	}
	bad.set("m", nil)
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0"))
	testkit.Eventually(t, "changed files are loaded", func() bool { return modeltest.StateOf(t, r, "m", "1.0.0").State == registry.StateLoaded })
}

// TestLoadTriesAtOnce checks that a request to load does not wait for the time of a
// retry, even for a running version whose change failed.
func TestLoadTriesAtOnce(t *testing.T) {
	dir, now := t.TempDir(), modeltest.NewClock()
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0"))
	var bad failing
	bad.set("m", errFull)
	f := modeltest.NewFake()
	f.Before = bad.open
	r := modeltest.Follow(t, dir, f, func(c *registry.Config) { c.Now = now.Now })
	load := func() {
		t.Helper()
		l, err := r.Load(t.Context(), "m", "")
		if err != nil {
			t.Fatal(err)
		}
		l.Release()
	}
	if _, err := r.Load(t.Context(), "m", ""); !errors.Is(err, batching.ErrUnavailable) {
		t.Errorf("while it fails: %v", err)
	}
	bad.set("m", nil)
	load()
	bad.set("m", errFull)
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0")+"description: changed\n")
	testkit.Eventually(t, "the change fails", func() bool { return modeltest.StateOf(t, r, "m", "1.0.0").Error != nil })
	if s := modeltest.StateOf(t, r, "m", "1.0.0"); s.State != registry.StateLoaded || s.Failure != registry.FailureSurroundings || s.RetryAt.IsZero() {
		t.Errorf("%+v", s)
	}
	if why := r.NotReady(); why != "" {
		t.Errorf("it runs, and yet: %q", why)
	}
	bad.set("m", nil)
	load()
	if s := modeltest.StateOf(t, r, "m", "1.0.0"); s.Error != nil || s.Facts.Manifest.Description != "changed" {
		t.Errorf("%+v", s)
	}
}

// TestRequestsRetry checks that a model without room in the cache is retried by a
// request once the retry is due.
func TestRequestsRetry(t *testing.T) {
	dir, now := t.TempDir(), modeltest.NewClock()
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0"))
	modeltest.WriteModel(t, dir, "other", "1.0.0", modeltest.Simple("other", "1.0.0"))
	var bad failing
	bad.set("m", errFull)
	f := modeltest.NewFake()
	f.Before = bad.open
	r := modeltest.Follow(t, dir, f, func(c *registry.Config) { c.Now, c.CacheSize, c.Lazy = now.Now, 1, true })
	if _, err := r.Acquire(t.Context(), "m", "", ""); err == nil {
		t.Fatal("it loads")
	}
	modeltest.VersionOf(t, r, "other", "", "") // takes the only place
	bad.set("m", nil)
	if _, err := r.Acquire(t.Context(), "m", "", ""); err == nil {
		t.Error("it is tried before its time")
	}
	now.Advance(5 * time.Second)
	modeltest.VersionOf(t, r, "m", "", "")
	if n := f.Tries("m@1.0.0"); n != 2 {
		t.Errorf("%d tries", n)
	}
}

// TestLoadsWaitForTheirTurn checks that a limited number of loads runs at once, that
// a load for which a request waits is next, and that waiting loads do not keep the
// host from stopping.
func TestLoadsWaitForTheirTurn(t *testing.T) {
	dir := t.TempDir()
	const models, loads = 200, 2
	for i := range models {
		id := fmt.Sprintf("m%03d", i)
		modeltest.WriteModel(t, dir, id, "1.0.0", modeltest.Simple(id, "1.0.0"))
	}
	var running, most atomic.Int64
	begun, gate := make(chan string, models), make(chan struct{})
	f := modeltest.NewFake()
	f.Before = func(ctx context.Context, m *manifest.Manifest) error {
		if n := running.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer running.Add(-1)
		begun <- m.ID
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r := modeltest.Start(t, dir, f, func(c *registry.Config) { c.Loads, c.CacheSize = loads, models }, nil)
	first := map[string]bool{<-begun: true, <-begun: true}
	testkit.Eventually(t, "all of them load or wait", func() bool {
		all, err := r.List("")
		return err == nil && len(all) == models && all[models-1].State == registry.StateLoading
	})
	if why := r.NotReady(); !strings.Contains(why, "still being loaded") {
		t.Errorf("not ready: %q", why)
	}
	wanted := ""
	for i := range models {
		if id := fmt.Sprintf("m%03d", models-1-i); !first[id] {
			wanted = id
			break
		}
	}
	asked := make(chan error, 1)
	go func() {
		l, err := r.Acquire(t.Context(), wanted, "", "")
		if err == nil {
			l.Release()
		}
		asked <- err
	}()
	// The request may come a moment late. Its load follows those whose turn it is by
	// then.
	for range models - loads {
		gate <- struct{}{}
		if <-begun == wanted {
			break
		}
		testkit.Eventually(t, "others go on", func() bool { return running.Load() == loads })
	}
	gate <- struct{}{}
	gate <- struct{}{}
	if err := <-asked; err != nil {
		t.Error(err)
	}
	if n := most.Load(); n != loads {
		t.Errorf("%d loads at once", n)
	}
	// The other loads still wait, and the end of the test closes the registry.
}

func TestNotReady(t *testing.T) {
	one := func(text string) []registry.Only {
		o, err := registry.ParseOnly(text)
		if err != nil {
			t.Fatal(err)
		}
		return []registry.Only{o}
	}
	for _, c := range []struct {
		name   string
		models []string // id@version
		bad    map[string]error
		change func(*registry.Config)
		want   string // empty: ready
	}{
		{name: "no model"},
		{name: "all failed", models: []string{"a@1.0.0", "b@1.0.0"}, bad: map[string]error{"a": errVerdict, "b": errVerdict}, want: "none of the 2 versions found could be loaded: a@1.0.0"},
		{name: "one failed", models: []string{"a@1.0.0", "b@1.0.0"}, bad: map[string]error{"a": errFull}},
		{name: "preloaded", models: []string{"a@1.0.0", "b@1.0.0"}, bad: map[string]error{"a": errFull}, change: func(c *registry.Config) { c.Preload = []string{"a"} }, want: "a@1.0.0 was not loaded"},
		{name: "preloaded verdict", models: []string{"a@1.0.0", "b@1.0.0"}, bad: map[string]error{"a": errVerdict}, change: func(c *registry.Config) { c.Preload = []string{"a"} }, want: "a@1.0.0 was not loaded"},
		{name: "one of all preloaded", models: []string{"a@1.0.0", "b@1.0.0"}, bad: map[string]error{"a": errVerdict}, change: func(c *registry.Config) { c.Preload = []string{"*"} }},
		{name: "pinned", models: []string{"a@1.0.0", "b@1.0.0"}, bad: map[string]error{"a": errFull}, change: func(c *registry.Config) { c.Pinned = []string{"*"} }, want: "a@1.0.0"},
		{name: "default", models: []string{"a@1.0.0", "b@1.0.0"}, bad: map[string]error{"b": errFull}, change: func(c *registry.Config) { c.Default = "b" }, want: "b@1.0.0"},
		{name: "latest is one version", models: []string{"a@1.0.0", "a@2.0.0"}, bad: map[string]error{"a@2.0.0": errFull}, change: func(c *registry.Config) { c.Default = "a" }, want: "a@2.0.0 was not loaded"},
		{name: "another version answers", models: []string{"a@1.0.0", "a@2.0.0"}, bad: map[string]error{"a@2.0.0": errVerdict}, change: func(c *registry.Config) { c.Default = "a" }},
		{name: "default is not there", models: []string{"a@1.0.0"}, change: func(c *registry.Config) { c.Default = "b" }, want: "models.default names model b, which is not there"},
		{name: "preload is not there", models: []string{"a@1.0.0"}, change: func(c *registry.Config) { c.Preload = []string{"*", "b"} }, want: "models.preload names model b"},
		{name: "pinned is not there", models: []string{"a@1.0.0"}, change: func(c *registry.Config) { c.Pinned = []string{"b"} }, want: "models.pinned names model b"},
		{name: "only is not there", models: []string{"a@1.0.0"}, change: func(c *registry.Config) { c.Only = one("a@1.0.1") }, want: "models.only names a@1.0.1, which is not there"},
		{name: "lazy", models: []string{"a@1.0.0"}, bad: map[string]error{"a": errFull}, change: func(c *registry.Config) { c.Lazy = true }},
		{name: "only", models: []string{"a@1.0.0", "b@1.0.0"}, bad: map[string]error{"a": errFull}, change: func(c *registry.Config) { c.Only = one("a@1.0.0") }, want: "a@1.0.0 was not loaded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, now := t.TempDir(), modeltest.NewClock()
			for _, m := range c.models {
				id, v, _ := strings.Cut(m, "@")
				modeltest.WriteModel(t, dir, id, v, modeltest.Simple(id, v))
			}
			f := modeltest.NewFake()
			f.Before = func(_ context.Context, m *manifest.Manifest) error {
				return errors.Join(c.bad[m.ID], c.bad[m.ID+"@"+m.Version])
			}
			r := modeltest.Start(t, dir, f, func(cfg *registry.Config) {
				cfg.Now = now.Now
				if c.change != nil {
					c.change(cfg)
				}
			}, nil)
			testkit.Eventually(t, "it is as it should be", func() bool {
				why := r.NotReady()
				return (c.want == "") == (why == "") && strings.Contains(why, c.want)
			})
		})
	}
}

// TestAliasWaitsForRetry checks that a host is not ready while the version of an
// alias has failed because of the surroundings.
func TestAliasWaitsForRetry(t *testing.T) {
	dir, now := t.TempDir(), modeltest.NewClock()
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0"))
	modeltest.WriteModel(t, dir, "m", "2.0.0", modeltest.Simple("m", "2.0.0"))
	var broken atomic.Bool
	broken.Store(true)
	f := modeltest.NewFake()
	f.Before = func(_ context.Context, m *manifest.Manifest) error {
		if m.Version == "2.0.0" && broken.Load() {
			return errFull
		}
		return nil
	}
	r := modeltest.Follow(t, dir, f, func(c *registry.Config) { c.Now = now.Now })
	if errs := r.SetAliases(t.Context(), map[string]registry.Aliases{"m": {Names: map[string]string{"canary": "2.0.0"}}}); len(errs) != 1 {
		t.Fatal(errs)
	}
	if why := r.NotReady(); !strings.Contains(why, "m@2.0.0 was not loaded") {
		t.Errorf("not ready: %q", why)
	}
	broken.Store(false)
	now.Advance(5 * time.Second)
	testkit.Eventually(t, "it becomes ready", func() bool { return r.NotReady() == "" })
	if v := modeltest.VersionOf(t, r, "m", "canary", ""); v != "2.0.0" {
		t.Error(v)
	}
}
