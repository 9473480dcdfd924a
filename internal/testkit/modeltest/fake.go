package modeltest

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Fake is a backend whose detectors are written in Go, for behaviour that no
// ONNX graph has.
type Fake struct {
	Make   func(*manifest.Manifest) sdk.Scorer
	Before func(context.Context, *manifest.Manifest) error // why Open fails; nil: it does not

	mu     sync.Mutex
	tried  map[string]int // calls of Open, by version
	opened int
	closed int
}

// Inspect has nothing to add.
func (*Fake) Inspect(context.Context, backends.Artifact) (manifest.Derived, error) {
	return manifest.Derived{}, nil
}

// Open returns what Make does, unless Before fails.
func (f *Fake) Open(ctx context.Context, a backends.Artifact) (sdk.Scorer, error) {
	f.mu.Lock()
	if f.tried == nil {
		f.tried = map[string]int{}
	}
	f.tried[a.Manifest.ID+"@"+a.Manifest.Version]++
	f.mu.Unlock()
	if f.Before != nil {
		if err := f.Before(ctx, a.Manifest); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened++
	c := &closing{Scorer: f.Make(a.Manifest), fake: f}
	if counts, ok := c.Scorer.(*Counter); ok {
		return &closingCounter{c, counts, counts}, nil
	}
	if checks, ok := c.Scorer.(sdk.HealthChecker); ok {
		return &closingChecker{c, checks}, nil
	}
	return c, nil
}

// Tries is how many times a version was opened, or not.
func (f *Fake) Tries(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tried[key]
}

// closingCounter keeps the abilities of a counter.
type closingCounter struct {
	*closing
	sdk.Learner
	sdk.Snapshotter
}

// closingChecker keeps the ability of a HealthChecker.
type closingChecker struct {
	*closing
	sdk.HealthChecker
}

// Counts is how many detectors were opened and closed.
func (f *Fake) Counts() (opened, closed int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened, f.closed
}

type closing struct {
	sdk.Scorer
	fake *Fake
}

func (c *closing) Close() error {
	c.fake.mu.Lock()
	c.fake.closed++
	c.fake.mu.Unlock()
	return c.Scorer.Close()
}

// WriteModel replaces the files of a model one by one, each as a whole: one that is
// cut short for longer than two looks are apart counts as a change.
func WriteModel(t *testing.T, dir, id, version, text string) {
	t.Helper()
	at := filepath.Join(dir, id, version)
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{"a": id + version, manifest.FileName: patient(text)} {
		tmp := filepath.Join(at, ".new")
		if err := errors.Join(os.WriteFile(tmp, []byte(data), 0o644), os.Rename(tmp, filepath.Join(at, name))); err != nil {
			t.Fatal(err)
		}
	}
}

// Follow starts a registry over a directory with a fake backend.
func Follow(t *testing.T, dir string, f *Fake, change func(*registry.Config)) *registry.Registry {
	t.Helper()
	r := Start(t, dir, f, change, nil)
	select {
	case <-r.Ready():
	case <-time.After(10 * time.Minute):
		t.Fatal("never ready")
	}
	return r
}

// Start is Follow without waiting, and with a catalog that may be changed. The
// catalog is no superuser.
func Start(t *testing.T, dir string, f *Fake, change func(*registry.Config), look func(*catalog.Catalog)) *registry.Registry {
	t.Helper()
	cfg := registry.Config{
		Dir: dir, CacheSize: 16, Now: time.Now, Random: func() float64 { return 0 },
		Log: slog.New(slog.DiscardHandler), Observe: testkit.Silent{},
	}
	if change != nil {
		change(&cfg)
	}
	r, err := registry.New(cfg, model.Backends{manifest.BackendONNX: f}, batching.NewCalls(4))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := catalog.Catalog{Dir: dir, Rescan: 50 * time.Millisecond, Settle: 10 * time.Millisecond, Now: time.Now, Log: cfg.Log, Apply: r.Apply, Trouble: r.Trouble, AllowEmpty: true}
	if look != nil {
		look(&c)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if look != nil {
			unprivileged(t)
		}
		_ = c.Follow(ctx)
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		end, stop := context.WithTimeout(context.Background(), 10*time.Minute)
		defer stop()
		if err := r.Close(end); err != nil {
			t.Error(err)
		}
		if opened, closed := f.Counts(); opened != closed {
			t.Errorf("%d models opened, %d closed", opened, closed)
		}
	})
	return r
}

// unprivileged makes the file system take this goroutine for nobody's, where it is
// root's: root may read everything. Its thread ends with it.
func unprivileged(t *testing.T) {
	goruntime.LockOSThread()
	if os.Geteuid() != 0 {
		return
	}
	const nobody = 65534
	if _, err := unix.SetfsuidRetUid(nobody); err != nil {
		t.Error(err)
	}
}

// OpenDir is a temporary directory that every user may pass through.
func OpenDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pynomaly-test-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Clock is a time that tests set.
type Clock struct {
	mu sync.Mutex
	at time.Time
}

// NewClock returns a clock that shows the present time.
func NewClock() *Clock { return &Clock{at: time.Now()} }

// Now is the time that is set.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// Advance sets the clock forward.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// Logged collects lines of a log.
type Logged struct {
	mu    sync.Mutex
	lines []string
}

// Write takes a line.
func (l *Logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	return len(p), nil
}

// Count is how many lines hold a text.
func (l *Logged) Count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}
