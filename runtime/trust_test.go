package runtime_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/process"
	"github.com/pynomaly/pynomaly-runtime/runtime"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// processes is a backend that may run the programs of one directory.
func processes(t *testing.T, allowed string) runtime.Backends {
	t.Helper()
	user := ""
	if os.Geteuid() == 0 {
		user = "65534"
	}
	b := process.New(process.Config{Allow: []process.Allowed{{Path: allowed}}, User: user, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { check(t, b.Close()) })
	check(t, b.Err())
	return runtime.Backends{"process": b}
}

// writeProgram writes a model whose program has the given text.
func writeProgram(t *testing.T, dir, id, text string) {
	t.Helper()
	check(t, os.MkdirAll(dir, 0o755))
	model := "apiVersion: pynomaly.io/v1\nkind: Model\nid: " + id + "\nversion: 1.0.0\nbackend: process\nartifact: run\n" +
		"features: [{name: a, dtype: float64}]\n"
	check(t, os.WriteFile(filepath.Join(dir, "model.yaml"), []byte(model), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "run"), []byte("#!/bin/sh\n"+text), 0o700))
}

// TestAllowanceOfWhatWasRead: a model's folder is exchanged for a link to a trusted
// one, and back, as fast as that goes. What was read from the folder is never allowed
// to run.
func TestAllowanceOfWhatWasRead(t *testing.T) {
	models := t.TempDir()
	trusted, folder, other := filepath.Join(models, "good", "1.0.0"), filepath.Join(models, "evil", "1.0.0"), filepath.Join(models, "evil", ".swap")
	writeProgram(t, trusted, "good", "exit 0")
	writeProgram(t, folder, "evil", strings.Repeat("#", 1<<20))
	check(t, os.Symlink(filepath.Join("..", "good", "1.0.0"), other))
	with := processes(t, trusted)
	open := func(dir string) (string, error) {
		m, _, err := runtime.Place{Dir: models, Location: runtime.Location{Dir: dir}}.Inspect(t.Context(), with)
		if m == nil {
			return "", err
		}
		return m.ID, err
	}
	if id, err := open("good/1.0.0"); id != "good" || err != nil {
		t.Fatalf("%q: %v", id, err)
	}
	if id, err := open("evil/1.0.0"); id != "evil" || !errors.Is(err, backends.ErrRefused) {
		t.Fatalf("%q: %v", id, err)
	}

	var stop atomic.Bool
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for !stop.Load() {
			if err := unix.Renameat2(unix.AT_FDCWD, folder, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE); err != nil {
				t.Errorf("exchanging: %v", err)
				return
			}
		}
	})
	defer func() { stop.Store(true); swapping.Wait() }()
	outcomes := map[string]int{}
	const evil, good = "evil allowed: false", "good allowed: true"
	for n := 0; n < 3000 || (n < 300_000 && (outcomes[evil] == 0 || outcomes[good] == 0)); n++ {
		id, err := open("evil/1.0.0")
		outcomes[fmt.Sprintf("%s allowed: %v", id, err == nil)]++
		if id == "evil" && !errors.Is(err, backends.ErrRefused) {
			t.Fatalf("what was read from the folder is allowed: %v", err)
		}
	}
	t.Log(outcomes)
	if outcomes[evil] == 0 || outcomes[good] == 0 {
		t.Errorf("the directories were not exchanged while they were read: %v", outcomes)
	}
}

// link makes a link, and the directory for it.
func link(t *testing.T, to, name string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(name), 0o755))
	check(t, os.Symlink(to, name))
}

// TestLinksBetweenModels: links are followed inside the models directory, as volumes of
// Kubernetes need them, but never to a file of another model.
func TestLinksBetweenModels(t *testing.T) {
	for name, c := range map[string]struct {
		make func(dir string) // evil/1.0.0, in a directory with good/1.0.0
		want string           // of the error; empty: it is allowed
	}{
		"a volume for each model": {func(dir string) { // mounted as evil/1.0.0
			writeProgram(t, filepath.Join(dir, "evil", "1.0.0", "..2026_01_02"), "evil", "exit 0")
			link(t, "..2026_01_02", filepath.Join(dir, "evil", "1.0.0", "..data"))
			link(t, "..data/model.yaml", filepath.Join(dir, "evil", "1.0.0", "model.yaml"))
			link(t, "..data/run", filepath.Join(dir, "evil", "1.0.0", "run"))
		}, ""},
		"a volume for all models": {func(dir string) {
			writeProgram(t, filepath.Join(dir, "..2026_01_02", "evil"), "evil", "exit 0")
			link(t, "..2026_01_02", filepath.Join(dir, "..data"))
			link(t, "../..data/evil", filepath.Join(dir, "evil", "1.0.0"))
		}, ""},
		"a shared file": {func(dir string) {
			writeProgram(t, filepath.Join(dir, "evil", "1.0.0"), "evil", "exit 0")
			check(t, os.Rename(filepath.Join(dir, "evil", "1.0.0", "run"), filepath.Join(dir, "evil", "run")))
			link(t, "../run", filepath.Join(dir, "evil", "1.0.0", "run"))
		}, ""},
		"another model's program": {func(dir string) {
			writeProgram(t, filepath.Join(dir, "evil", "1.0.0"), "evil", "exit 0")
			check(t, os.Remove(filepath.Join(dir, "evil", "1.0.0", "run")))
			link(t, "../../good/1.0.0/run", filepath.Join(dir, "evil", "1.0.0", "run"))
		}, "evil/1.0.0/run is a link to good/1.0.0/run, a file of another model"},
		"another model's manifest": {func(dir string) {
			link(t, "../../good/1.0.0/model.yaml", filepath.Join(dir, "evil", "1.0.0", "model.yaml"))
		}, "a file of another model"},
		"another model's directory": {func(dir string) {
			link(t, "../good/1.0.0", filepath.Join(dir, "evil", "1.0.0"))
		}, "says good 1.0.0, but stands in evil/1.0.0"},
		"by a directory": {func(dir string) {
			writeProgram(t, filepath.Join(dir, "evil", "1.0.0"), "evil", "exit 0")
			check(t, os.Remove(filepath.Join(dir, "evil", "1.0.0", "run")))
			link(t, "../..", filepath.Join(dir, "evil", "1.0.0", "up"))
			link(t, "up/good/1.0.0/run", filepath.Join(dir, "evil", "1.0.0", "run"))
		}, "a file of another model"},
		"outside": {func(dir string) {
			writeProgram(t, filepath.Join(dir, "evil", "1.0.0"), "evil", "exit 0")
			check(t, os.Remove(filepath.Join(dir, "evil", "1.0.0", "run")))
			link(t, "../../../run", filepath.Join(dir, "evil", "1.0.0", "run"))
		}, "leads outside the models directory"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeProgram(t, filepath.Join(dir, "good", "1.0.0"), "good", "exit 0")
			c.make(dir)
			at := runtime.Location{ID: "evil", Version: "1.0.0", Dir: "evil/1.0.0"}
			_, _, err := runtime.Place{Dir: dir, Location: at}.Inspect(t.Context(), processes(t, dir))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	t.Run("a bare file", func(t *testing.T) {
		dir := t.TempDir()
		writeProgram(t, filepath.Join(dir, "good", "1.0.0"), "good", "exit 0")
		link(t, "good/1.0.0/run", filepath.Join(dir, "evil.onnx"))
		_, _, err := runtime.Place{Dir: dir, Location: runtime.Location{ID: "evil", Version: "0.0.0", File: "evil.onnx"}}.Inspect(t.Context(), nil)
		if !errors.Is(err, backends.ErrRefused) || !strings.Contains(err.Error(), "a file of another model") {
			t.Errorf("%v", err)
		}
	})
}

// TestSharedFilesAreAllowedForThemselves: a directory that may run programs gives that
// to no file outside of it that a link leads to.
func TestSharedFilesAreAllowedForThemselves(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "good", "1.0.0")
	writeProgram(t, model, "good", "exit 0")
	check(t, os.Rename(filepath.Join(model, "run"), filepath.Join(dir, "run")))
	link(t, "../../run", filepath.Join(model, "run"))
	at := runtime.Place{Dir: dir, Location: runtime.Location{ID: "good", Version: "1.0.0", Dir: "good/1.0.0"}}
	if _, _, err := at.Inspect(t.Context(), processes(t, model)); !errors.Is(err, backends.ErrRefused) || !strings.Contains(err.Error(), filepath.Join(dir, "run")) {
		t.Errorf("the program is elsewhere: %v", err)
	}
	if _, _, err := at.Inspect(t.Context(), processes(t, dir)); err != nil {
		t.Error(err)
	}
}
