// Package testkit starts real hosts for the tests of other packages and reads the
// cases in testdata. Only tests import it.
package testkit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/backends/all"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/internal/atomicfile"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// Main runs a package's tests, or the helper role for which this process was
// started. Call it from TestMain. cleanup runs after the tests.
func Main(m *testing.M, cleanup ...func()) {
	if played, err := all.Play(os.Args, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	} else if played {
		os.Exit(0)
	}
	code := m.Run()
	cleanup = append(cleanup, removeCompiler)
	for _, f := range cleanup {
		f()
	}
	os.Exit(code)
}

// Root returns the top folder of the project.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Testdata returns a path below testdata.
func Testdata(parts ...string) string {
	return filepath.Join(append([]string{Root(), "testdata"}, parts...)...)
}

// Library returns the file of ONNX Runtime: the environment's, or the one in bin.
func Library() string {
	if file := os.Getenv("PYNOMALY_BACKENDS_ONNX_LIBRARY"); file != "" {
		return file
	}
	return filepath.Join(Root(), "bin", "libonnxruntime.so."+onnx.Version)
}

// NeedRuntime skips a test that compares with ONNX Runtime in builds without cgo, which
// have none.
func NeedRuntime(t testing.TB) {
	t.Helper()
	if !hasCgo {
		t.Skip("this build has no cgo, and so no ONNX Runtime to compare with")
	}
}

// ONNX opens the backend of graphs. The test fails if the library is missing, and is
// skipped in builds without cgo.
func ONNX(t testing.TB, stateDir string) *onnx.Backend {
	t.Helper()
	NeedRuntime(t)
	b := onnx.New(onnx.Config{Library: Library(), Probe: onnx.ProbeChild, StateDir: stateDir, Log: slog.New(slog.DiscardHandler)})
	if err := b.Err(); err != nil {
		t.Fatalf("run `make onnxruntime` first: %v", err)
	}
	return b
}

// Backends opens all backends.
func Backends(t testing.TB, stateDir string) model.Backends {
	t.Helper()
	return model.Backends{manifest.BackendONNX: ONNX(t, stateDir), manifest.BackendWASM: WASM(t)}
}

// Silent is an observer that does nothing.
type Silent struct{}

// Loaded implements registry.Observer.
func (Silent) Loaded(*model.Model, time.Duration) {}

// LoadFailed implements registry.Observer.
func (Silent) LoadFailed(string, string, error) {}

// Removed implements registry.Observer.
func (Silent) Removed(string, string) {}

// Host is a host that serves on the loopback interface.
type Host struct {
	URL      string // http://127.0.0.1:port
	Server   *rest.Server
	Registry *registry.Registry
	Calls    *batching.Calls
	Metrics  *prometheus.Registry
}

// Options change how a Host is started.
type Options struct {
	Dir      string
	Backends model.Backends
	Models   func(*registry.Config)
	REST     func(*rest.Config)
	TLS      *tls.Config // nil: plain HTTP
	Log      io.Writer
}

// Serve starts a host and waits until the models that it finds are loaded. At the
// end of the test it stops the host and checks that nothing is left.
func Serve(t testing.TB, o Options) *Host {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	if o.Log != nil {
		log = slog.New(slog.NewTextHandler(o.Log, nil))
	}
	if o.Backends == nil {
		o.Backends = Backends(t, Proofs())
	}
	cfg := registry.Config{
		Dir: o.Dir, CacheSize: 64, Now: time.Now, Random: rand.Float64, Log: log, Observe: Silent{},
	}
	if o.Models != nil {
		o.Models(&cfg)
	}
	h := &Host{Calls: batching.NewCalls(runtime.GOMAXPROCS(0)), Metrics: prometheus.NewRegistry()}
	var err error
	if h.Registry, err = registry.New(cfg, o.Backends, h.Calls); err != nil {
		t.Fatal(err)
	}
	restConfig := rest.Config{
		Version: "test", Timeout: 10 * time.Minute, Receive: 10 * time.Minute, BodyLimit: 32 << 20, MaxRows: 10000, Loopback: true,
		DefaultModel: cfg.Default, Now: time.Now, Log: log, Full: h.Calls.Full,
	}
	if o.REST != nil {
		o.REST(&restConfig)
	}
	if h.Server, err = rest.New(restConfig, h.Registry, h.Metrics); err != nil {
		t.Fatal(err)
	}
	var how net.ListenConfig
	how.SetMultipathTCP(false) // as the host does
	ln, err := how.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.URL = "http://" + ln.Addr().String()
	if o.TLS != nil {
		h.URL = "https://" + ln.Addr().String()
	}
	h.run(t, o, ln, log)
	select {
	case <-h.Registry.Ready():
	case <-time.After(10 * time.Minute):
		t.Fatal("the host did not become ready")
	}
	return h
}

// run follows the directory of models and serves until the end of the test.
func (h *Host) run(t testing.TB, o Options, ln net.Listener, log *slog.Logger) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	catalog := &catalog.Catalog{Dir: o.Dir, Rescan: time.Second, Settle: 50 * time.Millisecond, Now: time.Now, Log: log, Apply: h.Registry.Apply, Trouble: h.Registry.Trouble}
	wg.Go(func() { _ = catalog.Follow(ctx) })
	wg.Go(func() {
		if err := h.Server.Serve(ln, o.TLS); err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	t.Cleanup(func() {
		end, stop := context.WithTimeout(context.Background(), 10*time.Minute) // ends only what hangs
		defer stop()
		if err := h.Server.Shutdown(end); err != nil {
			t.Errorf("stopping the server: %v", err)
		}
		cancel()
		wg.Wait()
		if err := h.Registry.Close(end); err != nil {
			t.Errorf("closing the models: %v", err)
		}
		// A handler whose client has gone may end a moment after its connection.
		Eventually(t, "all leases have ended", func() bool { _, leases := h.Registry.Counts(); return leases == 0 })
	})
}

// Eventually waits until holds returns true. The test fails if that takes too long.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Patient replaces the default time limits of a manifest with long ones: they end
// only what hangs.
func Patient(text string) string {
	const far = "timeout: 5m, load_timeout: 10m"
	if !strings.Contains(text, "\nlimits:") {
		return text + "limits: {" + far + "}\n"
	}
	return strings.Replace(text, "timeout: 2s, load_timeout: 30s", far, 1)
}

// CopyModel copies testdata/models/<name>/1.0.0 to dir/<id>/<version> and changes
// the manifest. Unless change sets them, its time limits are long.
func CopyModel(t testing.TB, dir, name, id, version string, change func(manifest string) string) string {
	t.Helper()
	from, to := Testdata("models", name, "1.0.0"), filepath.Join(dir, id, version)
	files := map[string][]byte{}
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if e.Name() == manifest.FileName {
			text := strings.Replace(string(data), "\nid: "+name+"\n", "\nid: "+id+"\n", 1)
			text = strings.Replace(text, "\nversion: 1.0.0\n", "\nversion: "+version+"\n", 1)
			if change != nil {
				text = change(text)
			}
			data = []byte(Patient(text))
		}
		files[e.Name()] = data
	}
	if err := errors.Join(os.RemoveAll(to), atomicfile.WriteDir(to, files)); err != nil {
		t.Fatal(err)
	}
	return to
}

// WriteModel writes dir/<id>/1.0.0. A new directory appears complete, so that a host
// that follows dir finds all of it or nothing. In an existing directory each file is
// replaced separately.
func WriteModel(t testing.TB, dir, id string, files map[string][]byte) {
	t.Helper()
	to := filepath.Join(dir, id, "1.0.0")
	if _, err := os.Stat(to); err != nil {
		if err := atomicfile.WriteDir(to, files); err != nil {
			t.Fatal(err)
		}
		return
	}
	for name, data := range files {
		if err := atomicfile.Write(filepath.Join(to, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// CopyFile copies a file.
func CopyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

var calibrationLine = regexp.MustCompile(`(?m)^calibration: .*$`)

// WithCalibration returns a function that changes a manifest's calibration method.
func WithCalibration(method string) func(string) string {
	return func(text string) string {
		return calibrationLine.ReplaceAllString(text, "calibration: {method: "+method+", scores: train_scores.f64}")
	}
}
