package wasm_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/wasm"
	"github.com/pynomaly/pynomaly-runtime/internal/child"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hostile"
)

// compilerIn writes a compiler that runs a line of shell first while the file
// trouble exists.
func compilerIn(t *testing.T, line string) (exe, trouble string) {
	t.Helper()
	real := testkit.Compiler(t)
	if real == "" { // this binary
		var err error
		if real, err = os.Executable(); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	exe, trouble = filepath.Join(dir, "compiler"), filepath.Join(dir, "trouble")
	text := fmt.Sprintf("#!/bin/sh\nif [ -e '%s' ]; then %s; fi\nexec '%s' \"$@\"\n", trouble, line, real)
	if err := errors.Join(os.WriteFile(exe, []byte(text), 0o700), os.WriteFile(trouble, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	return exe, trouble
}

func quiet(c wasm.Config) wasm.Config {
	c.Log, c.Instances = slog.New(slog.DiscardHandler), 1
	return c
}

// TestCompilerInTrouble checks that problems of the machine in the compiling process
// are no verdict on the module, which loads once they are over.
func TestCompilerInTrouble(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"no room", "trap '' XFSZ; ulimit -f 0", "writing to the cache"}, // like a full disk: its writes fail
		{"killed", "kill -9 $$", "killed"},
		{"no threads", "echo 'runtime: failed to create new OS thread (have 2 already; errno=11)' >&2; exit 2", "failed to create new OS thread"},
	} {
		t.Run(c.name, func(t *testing.T) {
			exe, trouble := compilerIn(t, c.line)
			b := wasm.New(quiet(wasm.Config{CacheDir: filepath.Join(t.TempDir(), "cache"), Compiler: exe}))
			for range 2 {
				_, err := open(t, b, model(t, xy), hostile.Plain(), nil)
				if !errors.Is(err, backends.ErrSurroundings) || errors.Is(err, backends.ErrRefused) || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("%v, want %q", err, c.want)
				}
			}
			if err := os.Remove(trouble); err != nil {
				t.Fatal(err)
			}
			if _, err := open(t, b, model(t, xy), hostile.Plain(), nil); err != nil {
				t.Errorf("after the problem: %v", err)
			}
		})
	}
}

// TestFullDisk runs "no room" of TestCompilerInTrouble on a full disk. It needs root
// to mount one.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=64k,mode=700"); err != nil {
		t.Skipf("mounting a disk needs root: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	b := wasm.New(quiet(wasm.Config{CacheDir: filepath.Join(dir, "cache"), Compiler: testkit.Compiler(t)}))
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if _, err := open(t, b, model(t, xy), hostile.Plain(), nil); !errors.Is(err, backends.ErrSurroundings) || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("on a full disk: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, b, model(t, xy), hostile.Plain(), nil); err != nil {
		t.Errorf("with room: %v", err)
	}
}

// TestInheritedLimit checks that a host started under `ulimit -v` compiles within
// that limit.
func TestInheritedLimit(t *testing.T) {
	exe, _ := compilerIn(t, "ulimit -v 2500000")
	b := wasm.New(quiet(wasm.Config{CacheDir: filepath.Join(t.TempDir(), "cache"), Compiler: exe}))
	if _, err := open(t, b, model(t, xy), hostile.Plain(), nil); err != nil {
		t.Error(err)
	}
	for _, kilobytes := range []int{1000, 60000} { // too little for the process, in different ways
		exe, _ = compilerIn(t, fmt.Sprint("ulimit -v ", kilobytes))
		b = wasm.New(quiet(wasm.Config{CacheDir: filepath.Join(t.TempDir(), "cache"), Compiler: exe}))
		if _, err := open(t, b, model(t, xy), hostile.Plain(), nil); !errors.Is(err, backends.ErrSurroundings) {
			t.Errorf("within %d kB: %v", kilobytes, err)
		}
	}
}

// TestCacheRemoved checks that a removed directory of compiled code is made again.
func TestCacheRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	configured := filepath.Join(t.TempDir(), "cache")
	for _, dir := range []string{"", configured} {
		b := wasm.New(quiet(wasm.Config{CacheDir: dir, Compiler: testkit.Compiler(t)}))
		for range 2 {
			if _, err := open(t, b, model(t, xy), hostile.Plain(), nil); err != nil {
				t.Fatal(err)
			}
			at := configured
			if dir == "" {
				left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "pynomaly-wasm-*"))
				if err != nil || len(left) != 1 {
					t.Fatal(left, err)
				}
				at = left[0]
			}
			if info, err := os.Stat(at); err != nil || info.Mode().Perm() != 0o700 {
				t.Fatal(info.Mode(), err)
			}
			if err := os.RemoveAll(at); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	// Failing to make it is the machine's failure.
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	b := wasm.New(quiet(wasm.Config{Compiler: testkit.Compiler(t)}))
	if err := os.RemoveAll(tmp); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, b, model(t, xy), hostile.Plain(), nil); !backends.Surroundings(err) {
		t.Errorf("without a TMPDIR: %v", err)
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, b, model(t, xy), hostile.Plain(), nil); err != nil {
		t.Errorf("with one again: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestSweep checks that a host removes only what killed hosts left in TMPDIR.
func TestSweep(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	left, others, target := filepath.Join(tmp, "pynomaly-wasm-left"), filepath.Join(tmp, "pynomaly-wasm-open"), filepath.Join(tmp, "target")
	for dir, mode := range map[string]os.FileMode{left: 0o700, others: 0o755, target: 0o700} {
		if err := errors.Join(os.Mkdir(dir, mode), os.WriteFile(filepath.Join(dir, "code"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(target, filepath.Join(tmp, "pynomaly-wasm-link")); err != nil {
		t.Fatal(err)
	}
	running := wasm.New(quiet(wasm.Config{}))
	defer running.Close()
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a killed host left: %v", err)
	}
	before := glob(t, filepath.Join(tmp, "pynomaly-wasm-*"))
	if err := wasm.New(quiet(wasm.Config{})).Close(); err != nil {
		t.Fatal(err)
	}
	if after := glob(t, filepath.Join(tmp, "pynomaly-wasm-*")); len(before) != 3 || len(after) != 3 {
		t.Errorf("%v, then %v: the running host's directory, the one that others can read and the link must stay", before, after)
	}
	for _, dir := range []string{others, target} {
		if _, err := os.Stat(filepath.Join(dir, "code")); err != nil {
			t.Error(err)
		}
	}
}

// TestCompilerIsConfined checks that the compiling process can reach nothing but the
// directory of its code.
func TestCompilerIsConfined(t *testing.T) {
	if !child.Confined().Seccomp {
		t.Skip("this kernel or container has no filters of system calls")
	}
	b := wasm.New(quiet(wasm.Config{CacheDir: filepath.Join(t.TempDir(), "cache"), Compiler: testkit.Compiler(t)}))
	defer b.Close()
	var bomb []byte
	for _, a := range hostile.Attacks() {
		if a.Name == "compile bomb" {
			bomb = a.Module
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := b.Open(ctx, backends.Artifact{Manifest: model(t, xy), Bytes: bomb})
		ended <- err
	}()
	testkit.Eventually(t, "its process is confined", func() bool {
		for _, pid := range testkit.Helpers(t, wasm.CompileRole) {
			if none, filtered := testkit.Confined(pid); none && filtered {
				return true
			}
		}
		return false
	})
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
