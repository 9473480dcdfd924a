package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/atomicfile"
)

// holds fails the test unless dir has exactly the given files.
func holds(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(want) {
		t.Errorf("%s has %v, want %v", dir, entries, want)
	}
	for name, text := range want {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != text {
			t.Errorf("%s is %q, %v; want %q", name, got, err, text)
		}
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	for _, text := range []string{"first", "second, longer", ""} {
		if err := atomicfile.Write(name, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		holds(t, dir, map[string]string{"file": text})
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestLongName checks that a file can have the longest name that a file system
// allows.
func TestLongName(t *testing.T) {
	dir, long := t.TempDir(), strings.Repeat("n", 255)
	if err := atomicfile.Write(filepath.Join(dir, long), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	holds(t, dir, map[string]string{long: "text"})
}

// TestUnfinished checks that an incomplete file has another name, and that a
// discarded one leaves nothing.
func TestUnfinished(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := atomicfile.Create(name, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("half"); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(name); err != nil || string(text) != "before" {
		t.Errorf("while it is being written: %q, %v", text, err)
	}
	if filepath.Base(f.Name())[0] != '.' || filepath.Dir(f.Name()) != dir {
		t.Errorf("its temporary name is %s", f.Name())
	}
	if err := f.Discard(); err != nil {
		t.Error(err)
	}
	holds(t, dir, map[string]string{"file": "before"})
}

// TestNameTaken checks that writing over a directory fails and leaves nothing.
func TestNameTaken(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "taken")
	if err := atomicfile.WriteDir(name, map[string][]byte{"a": []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(name, []byte("text"), 0o600); err == nil {
		t.Error("a file took the place of a directory")
	}
	if err := atomicfile.Write(filepath.Join(dir, "missing", "file"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	holds(t, name, map[string]string{"a": "x"})
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestDirectories(t *testing.T) {
	root := t.TempDir()
	first, second := filepath.Join(root, "m", "1.0.0"), filepath.Join(root, "n", "1.0.0")
	files := map[string][]byte{"a": []byte("1"), "b": []byte("2")}
	if err := atomicfile.WriteDir(first, files); err != nil {
		t.Fatal(err)
	}
	holds(t, first, map[string]string{"a": "1", "b": "2"})
	if err := atomicfile.WriteDir(first, map[string][]byte{"a": []byte("other")}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("writing an existing directory: %v", err)
	}
	holds(t, first, map[string]string{"a": "1", "b": "2"})
	if err := atomicfile.MoveDir(first, second); err != nil {
		t.Fatal(err)
	}
	holds(t, second, map[string]string{"a": "1", "b": "2"})
	holds(t, filepath.Dir(first), nil)
	if err := atomicfile.WriteDir(first, files); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.MoveDir(first, second); !errors.Is(err, fs.ErrExist) {
		t.Errorf("moving to an existing directory: %v", err)
	}
	if err := atomicfile.WriteDir(filepath.Join(root, "o"), map[string][]byte{"missing/a": nil}); err == nil {
		t.Error("a file was written in a missing directory")
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) != 2 {
		t.Errorf("files were left: %v, %v", entries, err)
	}
}
