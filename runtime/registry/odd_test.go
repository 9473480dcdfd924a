package registry_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestFullCacheTakesNewModels checks that a model that is added while the cache is
// full loads on first use.
func TestFullCacheTakesNewModels(t *testing.T) {
	dir := t.TempDir()
	modeltest.WriteModel(t, dir, "a", "1.0.0", modeltest.Simple("a", "1.0.0"))
	r := modeltest.Follow(t, dir, modeltest.NewFake(), func(c *registry.Config) { c.CacheSize = 1 })
	modeltest.WriteModel(t, dir, "b", "1.0.0", modeltest.Simple("b", "1.0.0"))
	testkit.Eventually(t, "b is there", func() bool { return modeltest.StateOf(t, r, "b", "1.0.0").State == registry.StateAvailable })
	if got := modeltest.VersionOf(t, r, "b", "", ""); got != "1.0.0" {
		t.Error(got)
	}
}

func TestPreloadedComesFirst(t *testing.T) {
	dir := t.TempDir()
	for _, id := range []string{"a", "b", "z"} {
		modeltest.WriteModel(t, dir, id, "1.0.0", modeltest.Simple(id, "1.0.0"))
	}
	r := modeltest.Follow(t, dir, modeltest.NewFake(), func(c *registry.Config) { c.CacheSize, c.Preload = 2, []string{"z"} })
	if s := modeltest.StateOf(t, r, "z", "1.0.0"); s.State != registry.StateLoaded {
		t.Errorf("z is %s", s.State)
	}
}

// TestSlowVersionTakesNoTraffic checks that the running version answers while a new
// one loads, and that closing the registry does not wait for the load.
func TestSlowVersionTakesNoTraffic(t *testing.T) {
	dir := t.TempDir()
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0"))
	gate := make(chan struct{})
	f := &modeltest.Fake{Make: func(m *manifest.Manifest) sdk.Scorer {
		if m.Version == "2.0.0" {
			<-gate
		}
		return modeltest.Sums{}
	}}
	r := modeltest.Follow(t, dir, f, nil)
	modeltest.WriteModel(t, dir, "m", "2.0.0", modeltest.Simple("m", "2.0.0"))
	testkit.Eventually(t, "2.0.0 loads", func() bool { return modeltest.StateOf(t, r, "m", "2.0.0").State == registry.StateLoading })
	if got := modeltest.VersionOf(t, r, "m", "", ""); got != "1.0.0" {
		t.Errorf("%s answers", got)
	}
	close(gate)
	testkit.Eventually(t, "2.0.0 answers", func() bool { return modeltest.VersionOf(t, r, "m", "", "") == "2.0.0" })
}

// TestReadyDespiteAWriter checks that a version that never settles does not keep the
// host from being ready, for which Follow waits.
func TestReadyDespiteAWriter(t *testing.T) {
	dir := t.TempDir()
	modeltest.WriteModel(t, dir, "a", "1.0.0", modeltest.Simple("a", "1.0.0"))
	modeltest.WriteModel(t, dir, "busy", "1.0.0", modeltest.Simple("busy", "1.0.0"))
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
	r := modeltest.Follow(t, dir, modeltest.NewFake(), nil)
	if got := modeltest.VersionOf(t, r, "a", "", ""); got != "1.0.0" {
		t.Error(got)
	}
}

// TestOddEntries checks that entries in a models directory that are no models are
// listed and hide nothing.
func TestOddEntries(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"1.0.0", "1.1.0"} {
		modeltest.WriteModel(t, dir, "m", v, modeltest.Simple("m", v))
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
	must(os.WriteFile(filepath.Join(dir, "pipe", "1.0.0", manifest.FileName), []byte(modeltest.Simple("pipe", "1.0.0")), 0o600))
	must(syscall.Mkfifo(filepath.Join(dir, "pipe", "1.0.0", "a"), 0o600))
	must(os.WriteFile(filepath.Join(dir, "bare.onnx"), []byte("x"), 0o600))
	must(os.Symlink("/nonexistent", filepath.Join(dir, "bare")))
	f := modeltest.NewFake()
	r := modeltest.Follow(t, dir, f, nil)
	for _, err := range r.SetAliases(t.Context(), map[string]registry.Aliases{"m": {
		Names:   map[string]string{"stable": "1.0.0", "latest": "1.0.0", "soon": "2.0.0"},
		Default: map[string]int{"soon": 0, "stable": 50},
	}}) {
		if !strings.Contains(err.Error(), "soon") {
			t.Error(err)
		}
	}
	for _, c := range []struct{ version, want string }{{"stable", "1.0.0"}, {"latest", "1.0.0"}, {"", "1.0.0"}, {"1.1.0", "1.1.0"}} {
		if got := modeltest.VersionOf(t, r, "m", c.version, ""); got != c.want {
			t.Errorf("%q is %s, want %s", c.version, got, c.want)
		}
	}
	if s := modeltest.StateOf(t, r, "m", "backup"); s.State != registry.StateFailed || !strings.Contains(s.Error.Error(), "semantic version") {
		t.Errorf("backup: %+v", s)
	}
	if s := modeltest.StateOf(t, r, "m", "\uFFFD"); s.State != registry.StateFailed {
		t.Errorf("the name that is not UTF-8: %+v", s)
	}
	if s := modeltest.StateOf(t, r, "pipe", "1.0.0"); s.State != registry.StateFailed || !strings.Contains(s.Error.Error(), "not a regular file") {
		t.Errorf("pipe: %+v", s)
	}
	if s := modeltest.StateOf(t, r, "bare", "0.0.0"); s.Error != nil && strings.Contains(s.Error.Error(), "nonexistent") {
		t.Errorf("a dangling link hides a file: %+v", s)
	}
	// Loading and unloading accept aliases and latest.
	if _, err := r.Unload("m", "stable"); err != nil || modeltest.StateOf(t, r, "m", "1.0.0").State != registry.StateUnloaded {
		t.Errorf("unloading by alias: %v", err)
	}
	for _, v := range []string{"stable", ""} {
		l, err := r.Load(t.Context(), "m", v)
		if err != nil {
			t.Errorf("loading %q: %v", v, err)
			continue
		}
		if want := "1.0.0"; l.Model().Version() != want {
			t.Errorf("loading %q loads %s", v, l.Model().Version())
		}
		l.Release()
	}
	modeltest.WriteModel(t, dir, "m", "2.0.0", modeltest.Simple("m", "2.0.0"))
	testkit.Eventually(t, "the version that the alias stands for is loaded", func() bool { return modeltest.StateOf(t, r, "m", "2.0.0").State == registry.StateLoaded })
	if got := modeltest.VersionOf(t, r, "m", "soon", ""); got != "2.0.0" {
		t.Error(got)
	}
}
