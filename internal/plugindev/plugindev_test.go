package plugindev_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/plugindev"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/process"
)

var sources = plugindev.Sources{SDK: sdk.Source, Process: process.Source}

// digest computes the digest of a project as scripts/guests.sh does.
func digest(t *testing.T, dir string) string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, "./"+strings.TrimPrefix(p, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	h := sha256.New()
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(h, "%x  %s\n", sha256.Sum256(data), f)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// TestSamples checks that the sample modules were built from the present sources.
func TestSamples(t *testing.T) {
	text, err := os.ReadFile(testkit.Testdata("guests.json"))
	if err != nil {
		t.Fatal(err)
	}
	var samples map[string]struct{ Source, Module, Compiler string }
	if err := json.Unmarshal(text, &samples); err != nil {
		t.Fatal(err)
	}
	if len(samples) != 3 {
		t.Fatalf("%d samples", len(samples))
	}
	for name, s := range samples {
		dir := filepath.Join(t.TempDir(), name)
		if err := plugindev.New(sources, strings.TrimPrefix(name, "ecod-"), false, name, dir); err != nil {
			t.Fatal(err)
		}
		if got := digest(t, dir); got != s.Source {
			t.Errorf("the sources of %s have changed (%s) since its module was built (%s): run `make toolchains guests-update`", name, got, s.Source)
		}
		module, err := os.ReadFile(testkit.Testdata("models", name, "1.0.0", plugindev.Module))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(module)); got != s.Module || s.Compiler == "" {
			t.Errorf("the module of %s is %s, not %s", name, got, s.Module)
		}
	}
}

// TestGoProject checks that a project of `plugin new` passes its tests and builds
// with only Go installed.
func TestGoProject(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "seven")
	if err := plugindev.New(sources, "go", false, "seven", dir); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOPROXY=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var log bytes.Buffer
	built, err := plugindev.Build(t.Context(), dir, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if data, err := os.ReadFile(built.Path); err != nil || !bytes.HasPrefix(data, []byte("\x00asm")) {
		t.Errorf("%v", err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "model", "model.yaml")); err != nil || !strings.Contains(string(text), "id: seven") {
		t.Errorf("%s, %v", text, err)
	}
	renews(t, dir, built.Path)
}

// renews checks that the digests in a project's manifest follow its files, and that
// nothing else in it changes.
func renews(t *testing.T, dir, module string) {
	t.Helper()
	file := filepath.Join(dir, "model", "model.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	stale := "digest: sha256:" + strings.Repeat("0", 64) + " # mine\n"
	if err := errors.Join(os.WriteFile(file, append([]byte("# my detector\n"), append(text, stale...)...), 0o600), os.WriteFile(filepath.Join(dir, "model", "train.f64"), make([]byte, 16), 0o600)); err != nil {
		t.Fatal(err)
	}
	if path, err := plugindev.ModelPath(dir); err != nil || path != filepath.Dir(file) {
		t.Errorf("%s, %v", path, err)
	}
	sum := func(file string) string {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("sha256:%x", sha256.Sum256(data))
	}
	got, err := os.ReadFile(file)
	if err != nil || !bytes.HasPrefix(got, []byte("# my detector\napiVersion")) || !strings.HasSuffix(string(got), "digest: "+sum(module)+"\n") || !strings.Contains(string(got), "files:\n  train.f64: "+sum(filepath.Join(dir, "model", "train.f64"))+"\n") {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := plugindev.ModelPath(dir); err != nil {
		t.Error(err)
	}
	if again, err := os.ReadFile(file); err != nil || !bytes.Equal(again, got) {
		t.Errorf("%s, %v", again, err)
	}
}

func TestProjects(t *testing.T) {
	for _, want := range plugindev.Languages() {
		l := want.Name
		dir := filepath.Join(t.TempDir(), "p")
		if err := plugindev.New(sources, l, want.Process, "p", dir); err != nil {
			t.Fatal(err)
		}
		if got, err := plugindev.Detect(dir); err != nil || got.Name != l || got.Process != want.Process {
			t.Errorf("%s was detected as %s, %v", l, got.Name, err)
		}
		for _, file := range []string{"README.md", ".gitignore", "model/model.yaml", "model/train.f64"} {
			if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
				t.Errorf("%s: %v", l, err)
			}
		}
		if err := plugindev.New(sources, l, want.Process, "p", dir); err == nil || !strings.Contains(err.Error(), "exists already") {
			t.Errorf("%s: overwritten: %v", l, err)
		}
	}
	for _, bad := range [][2]string{{"cobol", "p"}, {"python", "p"}, {"go", "P"}, {"go", "../p"}, {"go", ""}, {"go", strings.Repeat("p", 65)}} {
		dir := filepath.Join(t.TempDir(), "p")
		if err := plugindev.New(sources, bad[0], false, bad[1], dir); err == nil {
			t.Errorf("%v was accepted", bad)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%v left something behind", bad)
		}
	}
}

// TestBuildFailures checks that errors name what is missing or wrong.
func TestBuildFailures(t *testing.T) {
	if _, err := plugindev.Build(t.Context(), t.TempDir(), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "not a plugin project") {
		t.Errorf("%v", err)
	}
	dir := filepath.Join(t.TempDir(), "p")
	if err := plugindev.New(sources, "go", false, "p", dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "detector.go"), []byte("package main\nfunc main() { nothing }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if _, err := plugindev.Build(t.Context(), dir, &log); err == nil || !strings.Contains(log.String(), "nothing") {
		t.Errorf("%v, %s", err, log.String())
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := plugindev.Build(context.Background(), dir, &log); err == nil || !strings.Contains(err.Error(), "go is not installed") {
		t.Errorf("%v", err)
	}
}

// TestModelPath checks that a directory with a model.yaml is a model, though its program
// has the name that a project's has.
func TestModelPath(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"model.yaml", "detector.py"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if path, err := plugindev.ModelPath(dir); err != nil || path != dir {
		t.Errorf("%s, %v", path, err)
	}
}

// TestProcessProject checks that a process plugin in Go passes its tests and builds
// with the dependencies in its go.mod and go.sum.
func TestProcessProject(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "seven")
	if err := plugindev.New(sources, "go", true, "seven", dir); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-mod=readonly", ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var log bytes.Buffer
	built, err := plugindev.Build(t.Context(), dir, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if data, err := os.ReadFile(built.Path); err != nil || !bytes.HasPrefix(data, []byte("\x7fELF")) {
		t.Errorf("%v", err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "model", "model.yaml")); err != nil || !strings.Contains(string(text), "backend: process\nartifact: detector\n") {
		t.Errorf("%s, %v", text, err)
	}
}
