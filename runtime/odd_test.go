package runtime_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestFullCacheTakesNewModels: a model that is dropped in while the cache is full
// loads on first use.
func TestFullCacheTakesNewModels(t *testing.T) {
	dir := t.TempDir()
	writeModel(t, dir, "a", "1.0.0", simple("a", "1.0.0"))
	r := follow(t, dir, newFake(), func(c *runtime.Config) { c.CacheSize = 1 })
	writeModel(t, dir, "b", "1.0.0", simple("b", "1.0.0"))
	testkit.Eventually(t, "b is there", func() bool { return state(t, r, "b", "1.0.0").State == runtime.StateAvailable })
	if got := version(t, r, "b", "", ""); got != "1.0.0" {
		t.Error(got)
	}
}

func TestPreloadedComesFirst(t *testing.T) {
	dir := t.TempDir()
	for _, id := range []string{"a", "b", "z"} {
		writeModel(t, dir, id, "1.0.0", simple(id, "1.0.0"))
	}
	r := follow(t, dir, newFake(), func(c *runtime.Config) { c.CacheSize, c.Preload = 2, []string{"z"} })
	if s := state(t, r, "z", "1.0.0"); s.State != runtime.StateLoaded {
		t.Errorf("z is %s", s.State)
	}
}

// TestSlowVersionTakesNoTraffic: while a new version loads, the one that runs
// answers; and closing the registry does not wait for it.
func TestSlowVersionTakesNoTraffic(t *testing.T) {
	dir := t.TempDir()
	writeModel(t, dir, "m", "1.0.0", simple("m", "1.0.0"))
	gate := make(chan struct{})
	f := &fake{open: func(m *manifest.Manifest) sdk.Scorer {
		if m.Version == "2.0.0" {
			<-gate
		}
		return sums{}
	}}
	r := follow(t, dir, f, nil)
	writeModel(t, dir, "m", "2.0.0", simple("m", "2.0.0"))
	testkit.Eventually(t, "2.0.0 loads", func() bool { return state(t, r, "m", "2.0.0").State == runtime.StateLoading })
	if got := version(t, r, "m", "", ""); got != "1.0.0" {
		t.Errorf("%s answers", got)
	}
	close(gate)
	testkit.Eventually(t, "2.0.0 answers", func() bool { return version(t, r, "m", "", "") == "2.0.0" })
}

// TestReadyDespiteAWriter: one version that never settles does not keep the host
// from being ready. (follow waits for that.)
func TestReadyDespiteAWriter(t *testing.T) {
	dir := t.TempDir()
	writeModel(t, dir, "a", "1.0.0", simple("a", "1.0.0"))
	writeModel(t, dir, "busy", "1.0.0", simple("busy", "1.0.0"))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				_ = os.WriteFile(filepath.Join(dir, "busy", "1.0.0", "extra"), make([]byte, i), 0o600)
			}
		}
	}()
	defer func() { close(stop); <-done }()
	r := follow(t, dir, newFake(), nil)
	if got := version(t, r, "a", "", ""); got != "1.0.0" {
		t.Error(got)
	}
}

// TestOddEntries: what stands in a models directory by mistake is named, and
// hides nothing.
func TestOddEntries(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"1.0.0", "1.1.0"} {
		writeModel(t, dir, "m", v, simple("m", v))
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(dir, "m", "\xff\xfe"), 0o750)) // not UTF-8
	must(os.Symlink("1.0.0", filepath.Join(dir, "m", "stable")))
	must(os.Mkdir(filepath.Join(dir, "m", "backup"), 0o750))
	must(os.Mkdir(filepath.Join(dir, "pipe"), 0o750))
	must(os.Mkdir(filepath.Join(dir, "pipe", "1.0.0"), 0o750))
	must(os.WriteFile(filepath.Join(dir, "pipe", "1.0.0", manifest.FileName), []byte(simple("pipe", "1.0.0")), 0o600))
	must(syscall.Mkfifo(filepath.Join(dir, "pipe", "1.0.0", "a"), 0o600))
	must(os.WriteFile(filepath.Join(dir, "bare.onnx"), []byte("x"), 0o600))
	must(os.Symlink("/nonexistent", filepath.Join(dir, "bare")))
	f := newFake()
	r := follow(t, dir, f, nil)
	for _, err := range r.SetAliases(t.Context(), map[string]runtime.Aliases{"m": {
		Names:   map[string]string{"stable": "1.0.0", "latest": "1.0.0", "soon": "2.0.0"},
		Default: map[string]int{"soon": 50, "stable": 50},
	}}) {
		if !strings.Contains(err.Error(), "soon") {
			t.Error(err)
		}
	}
	for _, c := range []struct{ version, want string }{{"stable", "1.0.0"}, {"latest", "1.0.0"}, {"", "1.0.0"}, {"1.1.0", "1.1.0"}} {
		if got := version(t, r, "m", c.version, ""); got != c.want {
			t.Errorf("%q is %s, want %s", c.version, got, c.want)
		}
	}
	if s := state(t, r, "m", "backup"); s.State != runtime.StateFailed || !strings.Contains(s.Error.Error(), "semantic version") {
		t.Errorf("backup: %+v", s)
	}
	if s := state(t, r, "m", "\uFFFD"); s.State != runtime.StateFailed {
		t.Errorf("the name that is not UTF-8: %+v", s)
	}
	if s := state(t, r, "pipe", "1.0.0"); s.State != runtime.StateFailed || !strings.Contains(s.Error.Error(), "no regular file") {
		t.Errorf("pipe: %+v", s)
	}
	if s := state(t, r, "bare", "0.0.0"); s.Error != nil && strings.Contains(s.Error.Error(), "nonexistent") {
		t.Errorf("a dangling link hides a file: %+v", s)
	}
	// Loading and unloading go by aliases and latest, too.
	if _, err := r.Unload("m", "stable"); err != nil || state(t, r, "m", "1.0.0").State != runtime.StateUnloaded {
		t.Errorf("unloading by alias: %v", err)
	}
	for _, v := range []string{"stable", ""} {
		l, err := r.Load(t.Context(), "m", v)
		if err != nil {
			t.Errorf("loading %q: %v", v, err)
			continue
		}
		if want := map[string]string{"stable": "1.0.0", "": "1.1.0"}[v]; l.Model().Version() != want {
			t.Errorf("loading %q loads %s", v, l.Model().Version())
		}
		l.Release()
	}
	writeModel(t, dir, "m", "2.0.0", simple("m", "2.0.0"))
	testkit.Eventually(t, "the alias that waited is set", func() bool { return r.AliasesOf("m").Names["soon"] == "2.0.0" })
	if got := version(t, r, "m", "soon", ""); got != "2.0.0" {
		t.Error(got)
	}
}
