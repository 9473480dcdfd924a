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

// WASMCache is where tests keep compiled code, over runs, too: compiling is slow
// with -race. It is another one when the meter has changed.
func WASMCache() string { return kept("wasm-cache", "backends", "wasm", "meter", "*.go") }

// Proofs is where tests keep what the backend of graphs knows of those that it has
// proved, over runs, too. It is another one when the backend has changed.
func Proofs() string { return kept("onnx-proofs", "backends", "onnx", "*.go") }

// kept is a folder in bin for the sources that a pattern names.
func kept(name string, pattern ...string) string {
	sources, err := filepath.Glob(filepath.Join(append([]string{Root()}, pattern...)...))
	if err != nil {
		panic(err) // a bad pattern
	}
	h := sha256.New()
	for _, file := range sources {
		data, err := os.ReadFile(file)
		if err != nil {
			panic(err) // the sources that this was built from
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

// Detector builds a reference detector's module.
func Detector(t testing.TB, name string) []byte {
	t.Helper()
	return buildGuest(t, "./plugins/"+name+"/module")
}

// Template builds the project that a plugin in Go begins as.
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

var precompiled sync.Map // packages

// Precompile puts a module's code into WASMCache, so that commands under test find
// it there.
func Precompile(t testing.TB, module []byte) {
	t.Helper()
	m := manifest.Defaults()
	m.ID, m.Version, m.Backend, m.Derived = "precompiled", "1.0.0", manifest.BackendWASM, true
	// Whatever else is wrong with it is the test's to find out.
	if err := WASM(t).Complete(context.Background(), backends.Artifact{Manifest: m, Bytes: module}); err != nil {
		t.Logf("compiling ahead: %v", err)
	}
}

// compiler is the binary that compiles for tests with -race, built once a process.
// Code is of use only to the version of wazero that compiled it, and a test's binary
// does not know which one it has: it is "dev".
var compiler = sync.OnceValues(func() (string, error) {
	exe := compilerFile()
	cmd := exec.CommandContext(context.Background(), "go", "build", "-ldflags=-X github.com/tetratelabs/wazero/internal/version.version=dev", "-o", exe, "./internal/testkit/compiler") //nolint:gosec // a constant but for the temporary folder
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

// Compiler is the binary that compiles modules for tests; empty: their own, which
// is as fast.
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
