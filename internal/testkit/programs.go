package testkit

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/process"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// PluginUser returns the user that runs process plugins in tests.
func PluginUser() string {
	if os.Geteuid() == 0 {
		return "nobody"
	}
	return ""
}

// Processes opens the backend of programs for models below dir.
func Processes(t testing.TB, dir string, log *slog.Logger) *process.Backend {
	t.Helper()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b := process.New(process.Config{
		Allow: []process.Allowed{{Path: dir}}, User: PluginUser(), Random: rand.Float64, Log: log,
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

// Program builds a process plugin in Go, once per process.
func Program(t testing.TB, pkg string) []byte {
	t.Helper()
	return build(t, pkg, []string{"CGO_ENABLED=0"})
}

// build builds a Go package in an environment, once per process.
func build(t testing.TB, pkg string, env []string, args ...string) []byte {
	t.Helper()
	made, _ := builds.LoadOrStore(strings.Join(append(env, pkg), " "), sync.OnceValues(func() ([]byte, error) {
		dir, err := os.MkdirTemp("", "pynomaly-program-*")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		file := filepath.Join(dir, "program")
		all := append([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", file}, append(args, pkg)...)
		cmd := exec.CommandContext(context.Background(), "go", all...) //nolint:gosec // tests choose the names
		cmd.Dir, cmd.Env = Root(), append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building %s: %w: %s", pkg, err, out)
		}
		return os.ReadFile(file)
	}))
	data, err := made.(func() ([]byte, error))()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(data)
}

var builds sync.Map // of func() ([]byte, error), by environment and package

// WriteFaulty writes dir/id/1.0.0, a model with the faulty plugin. settings are the
// members of its plugin.json, extra is added to its manifest.
func WriteFaulty(t testing.TB, dir, id, settings, extra string) {
	t.Helper()
	settings = "{" + settings + "}"
	text := fmt.Sprintf("apiVersion: pynomaly.io/v1\nkind: Model\nid: %s\nversion: 1.0.0\nbackend: process\nartifact: plugin\nfiles: {plugin.json: 'sha256:%x'}\n"+
		"features: [{name: x, dtype: float64}, {name: \"y\", dtype: float64}]\n%s", id, sha256.Sum256([]byte(settings)), extra)
	WriteModel(t, dir, id, map[string][]byte{
		"plugin": Program(t, "./internal/testkit/faulty"), "plugin.json": []byte(settings), manifest.FileName: []byte(Patient(text)),
	})
}

// Python returns an interpreter that has the Python SDK and what its example needs.
func Python(t testing.TB) string {
	t.Helper()
	file := filepath.Join(Root(), ".python-plugin", "bin", "python")
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("run `make python` first: %v", err)
	}
	return file
}

// PythonProcesses is like Processes for plugins in Python. As root, plugins run as
// root, because other users may not run an interpreter in root's home.
func PythonProcesses(t testing.TB, dir string, log *slog.Logger) *process.Backend {
	t.Helper()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := process.Config{
		Allow: []process.Allowed{{Path: dir}}, Random: rand.Float64, Log: log,
		Env: map[string]string{"PYTHONPATH": filepath.Join(Root(), "sdk", "python"), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
	}
	if os.Geteuid() == 0 {
		c.User = "root"
	}
	b := process.New(c)
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
