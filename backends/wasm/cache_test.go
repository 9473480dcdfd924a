package wasm_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/wasm"
	"github.com/pynomaly/pynomaly-runtime/internal/private"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hostile"
)

// entryOf returns the directory of the only module in a cache.
func entryOf(t *testing.T, cache string) string {
	t.Helper()
	names := glob(t, filepath.Join(cache, "*-meter*"))
	if len(names) != 1 {
		t.Fatal(names)
	}
	return names[0]
}

// TestPlantedCode checks that code is compiled again unless a host with the cache's
// key wrote it for this module.
func TestPlantedCode(t *testing.T) {
	compiler := testkit.Compiler(t)
	fill := func(t *testing.T, dir string, module []byte) string {
		b := wasm.New(quiet(wasm.Config{CacheDir: dir, Compiler: compiler}))
		defer b.Close()
		if _, err := open(t, b, model(t, xy), module, nil); err != nil {
			t.Fatal(err)
		}
		return entryOf(t, dir)
	}
	endless := hostile.Attacks()[0].Module // another module, which never returns
	for name, plant := range map[string]func(dir, entry, foreign, other string) error{
		"another host's": func(_, entry, foreign, _ string) error {
			return errors.Join(os.RemoveAll(entry), os.Rename(foreign, entry))
		},
		"another module's": func(_, entry, _, other string) error {
			return errors.Join(os.RemoveAll(entry), os.Rename(other, entry))
		},
		"another module's code": func(_, entry, _, other string) error {
			return errors.Join(os.RemoveAll(filepath.Join(entry, "code")), os.Rename(filepath.Join(other, "code"), filepath.Join(entry, "code")))
		},
		"a file more": func(_, entry, _, _ string) error {
			return os.WriteFile(filepath.Join(entry, "code", "more"), nil, 0o600)
		},
		"a link": func(_, entry, _, _ string) error {
			return os.Symlink("/etc/passwd", filepath.Join(entry, "code", "link"))
		},
		"no seal": func(_, entry, _, _ string) error {
			return os.Remove(filepath.Join(entry, "seal"))
		},
		"another key": func(dir, _, foreign, _ string) error {
			return os.Rename(filepath.Join(filepath.Dir(foreign), ".key"), filepath.Join(dir, ".key"))
		},
		"half a key": func(dir, _, _, _ string) error {
			return os.Truncate(filepath.Join(dir, ".key"), 16)
		},
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			dir := filepath.Join(base, "cache")
			entry := fill(t, dir, hostile.Plain())
			foreign := fill(t, filepath.Join(base, "foreign"), hostile.Plain())
			// An entry of another module in the same cache. It is there once the module
			// has been compiled, which takes a busy machine longer.
			b := wasm.New(quiet(wasm.Config{CacheDir: dir, Compiler: compiler}))
			var other string
			for _, patience := range []string{"3s", "30s", "5m"} {
				_, _ = open(t, b, model(t, xy+"limits: {load_timeout: "+patience+"}\n"), endless, nil)
				for _, e := range glob(t, filepath.Join(dir, "*-meter*")) {
					if e != entry {
						other = e
					}
				}
				if other != "" {
					break
				}
			}
			_ = b.Close()
			if err := plant(dir, entry, foreign, other); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			b = wasm.New(wasm.Config{CacheDir: dir, Instances: 1, Compiler: "/none", Log: slog.New(slog.NewTextHandler(&log, nil))})
			if _, err := open(t, b, model(t, xy), hostile.Plain(), nil); err == nil || !strings.Contains(err.Error(), "/none") {
				t.Errorf("without a compiler: %v", err)
			}
			if name != "no seal" && !strings.Contains(log.String(), "compiled again") {
				t.Errorf("log: %s", log.String())
			}
			b = wasm.New(quiet(wasm.Config{CacheDir: dir, Compiler: compiler}))
			defer b.Close()
			s, err := open(t, b, model(t, xy), hostile.Plain(), nil)
			if err != nil {
				t.Fatal(err)
			}
			out := make([]float64, 1)
			if err := s.Score(t.Context(), rows(t, model(t, xy), []float64{1, 2}), out); err != nil || out[0] != 1 {
				t.Errorf("%v, %v", out, err)
			}
		})
	}
}

// TestExposedCache checks that a cache is not used once other users can write to a
// directory above it, and that the error names that directory.
func TestExposedCache(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "parent")
	dir := filepath.Join(parent, "cache")
	b := wasm.New(quiet(wasm.Config{CacheDir: dir, Compiler: testkit.Compiler(t)}))
	defer b.Close()
	if _, err := open(t, b, model(t, xy), hostile.Plain(), nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(parent, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*wasm.Backend{b, wasm.New(quiet(wasm.Config{CacheDir: dir}))} {
		_, err := open(t, b, model(t, xy), hostile.Plain(), nil)
		if !errors.Is(err, backends.ErrUnavailable) || !errors.Is(err, private.ErrExposed) || !strings.Contains(err.Error(), parent) {
			t.Errorf("%v", err)
		}
	}
	if err := os.Chmod(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, b, model(t, xy), hostile.Plain(), nil); err != nil {
		t.Errorf("when only this user can write: %v", err)
	}
}

// TestTwoHostsOneCache checks that hosts that share a cache use one key and each
// other's code.
func TestTwoHostsOneCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	first := wasm.New(quiet(wasm.Config{CacheDir: dir, Compiler: testkit.Compiler(t)}))
	defer first.Close()
	second := wasm.New(quiet(wasm.Config{CacheDir: dir, Compiler: "/none"}))
	defer second.Close()
	for _, b := range []*wasm.Backend{first, second} {
		if _, err := open(t, b, model(t, xy), hostile.Plain(), nil); err != nil {
			t.Error(err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, ".key")); err != nil || info.Mode().Perm() != 0o600 || info.Size() != 32 {
		t.Errorf("%v, %v", info, err)
	}
	if left := glob(t, filepath.Join(dir, ".new-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
