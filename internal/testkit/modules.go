package testkit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/wasm"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// WASMCache returns the directory where tests keep compiled code from run to run,
// because compiling is slow with -race. Its name changes with the meter.
func WASMCache() string { return kept("wasm-cache", "backends", "wasm", "meter", "*.go") }

// Proofs returns the directory where tests keep the proofs of graphs from run to
// run. Its name changes with the backend.
func Proofs() string { return kept("onnx-proofs", "backends", "onnx", "*.go") }

// kept returns a folder in bin for the sources that a pattern matches.
func kept(name string, pattern ...string) string {
	sources, err := filepath.Glob(filepath.Join(append([]string{Root()}, pattern...)...))
	if err != nil {
		panic(err) // a bad pattern
	}
	h := sha256.New()
	for _, file := range sources {
		data, err := os.ReadFile(file)
		if err != nil {
			panic(err) // the sources of this binary
		}
		_, _ = h.Write(data)
	}
	return filepath.Join(Root(), "bin", name, hex.EncodeToString(h.Sum(nil))[:16])
}

// WASM opens the backend of modules.
func WASM(t testing.TB) *wasm.Backend {
	t.Helper()
	b := wasm.New(wasm.Config{
		CacheDir: WASMCache(), Instances: runtime.GOMAXPROCS(0), Compiler: Compiler(t), Log: slog.New(slog.DiscardHandler),
	})
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// Guest builds a plugin of backends/wasm/testdata/guests with the Go SDK.
func Guest(t testing.TB, name string) []byte {
	t.Helper()
	return buildGuest(t, "./backends/wasm/testdata/guests/"+name)
}

// Detector builds the module of a reference detector.
func Detector(t testing.TB, name string) []byte {
	t.Helper()
	return buildGuest(t, "./plugins/"+name+"/module")
}

// Template builds the project template of a plugin in Go.
func Template(t testing.TB) []byte {
	t.Helper()
	return buildGuest(t, "github.com/pynomaly/pynomaly-runtime/sdk/guest/templates/go")
}

func buildGuest(t testing.TB, pkg string) []byte {
	t.Helper()
	data := build(t, pkg, []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0"}, "-buildmode=c-shared")
	if _, done := precompiled.LoadOrStore(pkg, true); !done {
		Precompile(t, data)
	}
	return data
}

var precompiled sync.Map // by package

// Precompile adds a module's code to WASMCache, so that commands under test find it
// there.
func Precompile(t testing.TB, module []byte) {
	t.Helper()
	m := manifest.Defaults()
	m.ID, m.Version, m.Backend, m.Derived = "precompiled", "1.0.0", manifest.BackendWASM, true
	// The test itself finds out whether the module is otherwise wrong.
	if _, err := WASM(t).Inspect(context.Background(), backends.Artifact{Manifest: m, Bytes: module}); err != nil {
		t.Logf("compiling in advance: %v", err)
	}
}

// compiler builds, once per process, the binary that compiles for tests with -race.
// A module's code can be loaded only by the version of wazero that compiled it. In a
// test's binary that version is "dev".
var compiler = sync.OnceValues(func() (string, error) {
	exe := compilerFile()
	cmd := exec.CommandContext(context.Background(), "go", "build", "-ldflags=-X github.com/tetratelabs/wazero/internal/version.version=dev", "-o", exe, "./internal/testkit/compiler") //nolint:gosec // a constant, except for the temporary folder
	cmd.Dir = Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the compiler: %w: %s", err, out)
	}
	return exe, nil
})

func compilerFile() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("pynomaly-runtime-compiler-%d", os.Getpid()))
}

func removeCompiler() { _ = os.Remove(compilerFile()) }

// Compiler returns the binary that compiles modules for tests, or "" if the test's
// own is as fast.
func Compiler(t testing.TB) string {
	t.Helper()
	if !race {
		return ""
	}
	exe, err := compiler()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}
