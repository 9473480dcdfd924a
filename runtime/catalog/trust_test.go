package catalog_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/process"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// processes returns a backend that may run the programs of one directory.
func processes(t *testing.T, allowed string) model.Backends {
	t.Helper()
	user := ""
	if os.Geteuid() == 0 {
		user = "65534"
	}
	b := process.New(process.Config{Allow: []process.Allowed{{Path: allowed}}, User: user, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { modeltest.Check(t, b.Close()) })
	modeltest.Check(t, b.Err())
	return model.Backends{"process": b}
}

// writeProgram writes a model whose program has the given text.
func writeProgram(t *testing.T, dir, id, text string) {
	t.Helper()
	modeltest.Check(t, os.MkdirAll(dir, 0o755))
	model := "apiVersion: pynomaly.io/v1\nkind: Model\nid: " + id + "\nversion: 1.0.0\nbackend: process\nartifact: run\n" +
		"features: [{name: a, dtype: float64}]\n"
	modeltest.Check(t, os.WriteFile(filepath.Join(dir, "model.yaml"), []byte(model), 0o600))
	modeltest.Check(t, os.WriteFile(filepath.Join(dir, "run"), []byte("#!/bin/sh\n"+text), 0o700))
}

// TestAllowanceOfWhatWasRead swaps a model's folder with a link to a trusted one as
// fast as possible. What was read from the folder must never be allowed to run.
func TestAllowanceOfWhatWasRead(t *testing.T) {
	models := t.TempDir()
	trusted, folder, other := filepath.Join(models, "good", "1.0.0"), filepath.Join(models, "evil", "1.0.0"), filepath.Join(models, "evil", ".swap")
	writeProgram(t, trusted, "good", "exit 0")
	writeProgram(t, folder, "evil", strings.Repeat("#", 1<<20))
	modeltest.Check(t, os.Symlink(filepath.Join("..", "good", "1.0.0"), other))
	with := processes(t, trusted)
	open := func(dir string) (string, error) {
		m, _, err := modelstore.Place{Dir: models, Location: catalog.Location{Dir: dir}}.Inspect(t.Context(), with)
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

// link makes a link and its directory.
func link(t *testing.T, to, name string) {
	t.Helper()
	modeltest.Check(t, os.MkdirAll(filepath.Dir(name), 0o755))
	modeltest.Check(t, os.Symlink(to, name))
}

// TestLinksBetweenModels checks that links are followed inside the models directory,
// as volumes of Kubernetes need it, but never to a file of another model.
func TestLinksBetweenModels(t *testing.T) {
	for name, c := range map[string]struct {
		make func(dir string) // makes evil/1.0.0 in a directory with good/1.0.0
		want string           // in the error; empty: it is allowed
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
			modeltest.Check(t, os.Rename(filepath.Join(dir, "evil", "1.0.0", "run"), filepath.Join(dir, "evil", "run")))
			link(t, "../run", filepath.Join(dir, "evil", "1.0.0", "run"))
		}, ""},
		"another model's program": {func(dir string) {
			writeProgram(t, filepath.Join(dir, "evil", "1.0.0"), "evil", "exit 0")
			modeltest.Check(t, os.Remove(filepath.Join(dir, "evil", "1.0.0", "run")))
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
			modeltest.Check(t, os.Remove(filepath.Join(dir, "evil", "1.0.0", "run")))
			link(t, "../..", filepath.Join(dir, "evil", "1.0.0", "up"))
			link(t, "up/good/1.0.0/run", filepath.Join(dir, "evil", "1.0.0", "run"))
		}, "a file of another model"},
		"outside": {func(dir string) {
			writeProgram(t, filepath.Join(dir, "evil", "1.0.0"), "evil", "exit 0")
			modeltest.Check(t, os.Remove(filepath.Join(dir, "evil", "1.0.0", "run")))
			link(t, "../../../run", filepath.Join(dir, "evil", "1.0.0", "run"))
		}, "leads outside the models directory"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeProgram(t, filepath.Join(dir, "good", "1.0.0"), "good", "exit 0")
			c.make(dir)
			at := catalog.Location{ID: "evil", Version: "1.0.0", Dir: "evil/1.0.0"}
			_, _, err := modelstore.Place{Dir: dir, Location: at}.Inspect(t.Context(), processes(t, dir))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	t.Run("a bare file", func(t *testing.T) {
		dir := t.TempDir()
		writeProgram(t, filepath.Join(dir, "good", "1.0.0"), "good", "exit 0")
		link(t, "good/1.0.0/run", filepath.Join(dir, "evil.onnx"))
		_, _, err := modelstore.Place{Dir: dir, Location: catalog.Location{ID: "evil", Version: "0.0.0", File: "evil.onnx"}}.Inspect(t.Context(), nil)
		if !errors.Is(err, backends.ErrRefused) || !strings.Contains(err.Error(), "a file of another model") {
			t.Errorf("%v", err)
		}
	})
}

// TestSharedFilesAreAllowedForThemselves checks that a directory that may run
// programs does not allow files outside it to which links lead.
func TestSharedFilesAreAllowedForThemselves(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "good", "1.0.0")
	writeProgram(t, model, "good", "exit 0")
	modeltest.Check(t, os.Rename(filepath.Join(model, "run"), filepath.Join(dir, "run")))
	link(t, "../../run", filepath.Join(model, "run"))
	at := modelstore.Place{Dir: dir, Location: catalog.Location{ID: "good", Version: "1.0.0", Dir: "good/1.0.0"}}
	if _, _, err := at.Inspect(t.Context(), processes(t, model)); !errors.Is(err, backends.ErrRefused) || !strings.Contains(err.Error(), filepath.Join(dir, "run")) {
		t.Errorf("the program is elsewhere: %v", err)
	}
	if _, _, err := at.Inspect(t.Context(), processes(t, dir)); err != nil {
		t.Error(err)
	}
}

// TestTrustIsTheHosts checks that a graph that needs trust is served only if the
// host lists it, whatever its manifest says.
func TestTrustIsTheHosts(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "loop", "1.0.0")
	modeltest.Check(t, os.MkdirAll(model, 0o755))
	testkit.CopyFile(t, testkit.Testdata("variants", "data-loop.onnx"), filepath.Join(model, "m.onnx"))
	graph, err := os.ReadFile(filepath.Join(model, "m.onnx"))
	modeltest.Check(t, err)
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(graph))
	with := testkit.Backends(t, t.TempDir())
	at := modelstore.Place{Dir: dir, Location: catalog.Location{ID: "loop", Version: "1.0.0", Dir: "loop/1.0.0"}}
	const refused = "list the model in backends.onnx.trusted if you trust it"
	for _, c := range []struct {
		asks    bool
		trusted []string
		want    []string // in the error; none: it is served
	}{
		{true, nil, []string{refused, "the manifest asks to be trusted, which only the host's operator grants", digest}},
		{false, nil, []string{refused}},
		{true, []string{t.TempDir(), "sha256:" + strings.Repeat("0", 64)}, []string{refused}},
		{true, []string{digest}, nil},
		{true, []string{model}, nil},
		{false, []string{dir}, nil},
	} {
		text := "apiVersion: pynomaly.io/v1\nkind: Model\nid: loop\nversion: 1.0.0\nartifact: m.onnx\nthreshold: 3\n"
		if c.asks {
			text += "trusted: true\n"
		}
		modeltest.Check(t, os.WriteFile(filepath.Join(model, "model.yaml"), []byte(text), 0o600))
		at.Policy.Trusted = c.trusted
		m, err := at.Open(t.Context(), with, batching.NewCalls(1))
		if err == nil {
			modeltest.Check(t, m.Close())
		}
		if (err == nil) != (c.want == nil) {
			t.Errorf("asks %v, trusted %q: %v", c.asks, c.trusted, err)
		}
		for _, want := range c.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("asks %v, trusted %q: %v, want %q", c.asks, c.trusted, err, want)
			}
		}
	}
}

// TestLimitsAreRequests checks that requests of a manifest beyond the host's limits
// are lowered with a warning.
func TestLimitsAreRequests(t *testing.T) {
	dir := t.TempDir()
	writeProgram(t, dir+"/m/1.0.0", "m", "")
	file := filepath.Join(dir, "m", "1.0.0", "model.yaml")
	text, err := os.ReadFile(file)
	modeltest.Check(t, err)
	greedy := "processes: 9\nlimits: {timeout: 20h, load_timeout: 23h, max_batch_rows: 1000000, memory: 1TiB}\n"
	modeltest.Check(t, os.WriteFile(file, append(text, greedy...), 0o600))
	at := modelstore.Place{Dir: dir, Location: catalog.Location{ID: "m", Version: "1.0.0", Dir: "m/1.0.0"}}
	m, _, err := at.Inspect(t.Context(), nil)
	modeltest.Check(t, err)
	if most := manifest.DefaultMaxima(); m.Limits.Memory != most.Memory || m.Limits.LoadTimeout != most.LoadTimeout || m.Limits.Timeout != most.Timeout || len(m.Warnings) != 3 {
		t.Errorf("%+v, %q", m.Limits, m.Warnings)
	}
	most := manifest.DefaultMaxima()
	most.Timeout, most.LoadTimeout, most.MaxBatchRows, most.Memory, most.Processes = time.Second, time.Minute, 100, 8<<20, 2
	at.Policy.Max = most
	m, _, err = at.Inspect(t.Context(), nil)
	modeltest.Check(t, err)
	want := manifest.Limits{Timeout: time.Second, LoadTimeout: time.Minute, MaxBatchRows: 100, RowsGiven: true, Memory: 8 << 20}
	if m.Limits != want || m.Processes != 2 || len(m.Warnings) != 5 || !strings.Contains(strings.Join(m.Warnings, "\n"), "limits.memory asks for 1TiB; this host allows 8MiB") {
		t.Errorf("%+v, %d processes, %q", m.Limits, m.Processes, m.Warnings)
	}
}

// TestBytesOfAllFiles checks that the total of the bytes that are read is limited,
// whatever the files take on disk.
func TestBytesOfAllFiles(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "m", "1.0.0")
	writeProgram(t, model, "m", "")
	f, err := os.Create(filepath.Join(model, "f0"))
	modeltest.Check(t, err)
	modeltest.Check(t, errors.Join(f.Truncate(1<<20), f.Close()))
	files := "files:\n"
	for i := range 4 {
		if name := filepath.Join(model, fmt.Sprint("f", i)); i > 0 {
			modeltest.Check(t, os.Link(filepath.Join(model, "f0"), name))
		}
		files += fmt.Sprintf("  f%d: sha256:%x\n", i, sha256.Sum256(make([]byte, 1<<20)))
	}
	text, err := os.ReadFile(filepath.Join(model, "model.yaml"))
	modeltest.Check(t, err)
	modeltest.Check(t, os.WriteFile(filepath.Join(model, "model.yaml"), append(text, files...), 0o600))
	at := modelstore.Place{Dir: dir, Location: catalog.Location{ID: "m", Version: "1.0.0", Dir: "m/1.0.0"}}
	at.Policy.Max = manifest.DefaultMaxima()
	for most, fits := range map[int64]bool{4 << 20: false, 4<<20 + 64<<10: true} {
		at.Policy.Max.Bytes = most
		_, _, err := at.Inspect(t.Context(), nil)
		if fits != (err == nil) || !fits && !strings.Contains(err.Error(), "limits.max.bytes") {
			t.Errorf("%d bytes: %v", most, err)
		}
	}
}
