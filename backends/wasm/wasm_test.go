package wasm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/wasm"
	"github.com/pynomaly/pynomaly-runtime/internal/private"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hostile"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// distance builds the module once for all tests.
var distance = func() func(testing.TB) []byte {
	var once sync.Once
	var module []byte
	return func(t testing.TB) []byte {
		t.Helper()
		once.Do(func() { module = testkit.Guest(t, "distance") })
		return module
	}
}()

func model(t testing.TB, extra string) *manifest.Manifest {
	t.Helper()
	m, err := manifest.Decode([]byte("apiVersion: pynomaly.io/v1\nkind: Model\nid: m\nversion: 1.0.0\nbackend: wasm\nartifact: m.wasm\n" + extra))
	if err != nil {
		t.Fatal(err)
	}
	m.Limits.LoadTimeout = 10 * time.Minute // ends only a module that hangs
	return m
}

const xy = "features: [{name: x, dtype: float64}, {name: y, dtype: float64}]\n"

func rows(t testing.TB, m *manifest.Manifest, values ...[]float64) *sdk.Batch {
	t.Helper()
	b := sdk.NewBatch(m.SDKFeatures())
	b.Resize(len(values))
	for i, row := range values {
		for j, v := range row {
			if err := b.SetValue(i, j, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	return b
}

type opener = func(context.Context, backends.Artifact) (sdk.Scorer, error)

func artifact(m *manifest.Manifest, module []byte, files map[string][]byte) backends.Artifact {
	return backends.Artifact{Manifest: m, Bytes: module, Files: files}
}

func open(t testing.TB, b *wasm.Backend, m *manifest.Manifest, module []byte, files map[string][]byte) (sdk.Scorer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	s, err := b.Open(ctx, backends.Artifact{Manifest: m, Bytes: module, Files: files})
	if err == nil {
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return s, err
}

func TestGoPlugin(t *testing.T) {
	var log bytes.Buffer
	b := wasm.New(wasm.Config{CacheDir: testkit.WASMCache(), Instances: 4, Compiler: testkit.Compiler(t), Log: slog.New(slog.NewTextHandler(&log, nil))})
	defer b.Close()
	m := model(t, xy+"config: {centre: [3, 4]}\n")
	if _, err := b.Inspect(t.Context(), artifact(m, distance(t), nil)); err != nil {
		t.Fatal(err)
	}
	s, err := open(t, b, m, distance(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if info := s.Info(); info.Concurrency != 4 || len(info.Features) != 2 || info.Algorithm != "distance" {
		t.Errorf("%+v", info)
	}
	out := make([]float64, 3)
	if err := s.Score(t.Context(), rows(t, m, []float64{3, 4}, []float64{0, 0}, []float64{3, math.NaN()}), out); err != nil {
		t.Fatal(err)
	}
	if out[0] != 0 || out[1] != 5 || !math.IsNaN(out[2]) {
		t.Errorf("scores %v", out)
	}
	explained := make([]float64, 3)
	if err := s.(sdk.Explainer).Explain(t.Context(), rows(t, m, []float64{1, 1}), explained); err != nil || explained[1] != 2 || explained[2] != 3 {
		t.Errorf("explained %v, %v", explained, err)
	}
	if !strings.Contains(log.String(), "plugin printed") || !strings.Contains(log.String(), "text=ready") || !strings.Contains(log.String(), "model_id=m") {
		t.Errorf("log: %s", log.String())
	}
	defer func() {
		if !strings.Contains(log.String(), "panic: torn") {
			t.Errorf("the panic is not in the log: %s", log.String())
		}
	}()
	// A reported failure, a trap and an endless loop each have a distinct error, and
	// the next call succeeds.
	for _, c := range []struct {
		x    float64
		want error
		text string
	}{
		{-1000, nil, "a row is far too far left"},
		{-2000, nil, "pynomaly_score: the module"}, // a Go panic
		{-3000, context.DeadlineExceeded, ""},
	} {
		timeout := 10 * time.Minute
		if c.want != nil {
			timeout = 200 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		err := s.Score(ctx, rows(t, m, []float64{c.x, 0}), out[:1])
		cancel()
		if err == nil || !strings.Contains(err.Error(), c.text) || (c.want != nil && !errors.Is(err, c.want)) {
			t.Errorf("x = %v ended with %v", c.x, err)
		}
		if err := s.Score(t.Context(), rows(t, m, []float64{0, 0}), out[:1]); err != nil || out[0] != 5 {
			t.Errorf("after x = %v: %v, %v", c.x, out[0], err)
		}
	}
}

// TestConcurrentCalls checks that instances are made on demand and agree, and that
// batches of any size give the scores of single rows.
func TestConcurrentCalls(t *testing.T) {
	b := testkit.WASM(t)
	m := model(t, xy+"config: {centre: [1, 1]}\n")
	s, err := open(t, b, m, distance(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for n := 1; n < 3000; n *= 3 {
				all := make([][]float64, n)
				for i := range all {
					all[i] = []float64{float64(i), float64(g)}
				}
				out := make([]float64, n)
				if err := s.Score(t.Context(), rows(t, m, all...), out); err != nil {
					t.Error(err)
					return
				}
				for i, v := range out {
					if want := math.Hypot(float64(i)-1, float64(g)-1); math.Abs(v-want) > 1e-9*max(1, want) {
						t.Errorf("row %d of %d: %v, want %v", i, n, v, want)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if err := s.Score(t.Context(), rows(t, m), nil); err != nil {
		t.Errorf("no rows: %v", err)
	}
}

func TestFilesAndMixedColumns(t *testing.T) {
	b := testkit.WASM(t)
	m := model(t, "features: [{name: x, dtype: int64}, {name: y, dtype: bool}]\n")
	s, err := open(t, b, m, distance(t), map[string][]byte{"centre.txt": []byte("10 0"), "a": []byte("other"), "empty": nil})
	if err != nil {
		t.Fatal(err)
	}
	in := sdk.NewBatch(m.SDKFeatures())
	in.Resize(3)
	copy(in.Column(0).Int64s, []int64{10, 7, 1<<53 + 1})
	copy(in.Column(1).Bools, []bool{true, false, false})
	out := make([]float64, 3)
	var failed *sdk.RowErrors
	if err := s.Score(t.Context(), in, out); !errors.As(err, &failed) || len(failed.Rows) != 1 || failed.Rows[0].Row != 2 || failed.Rows[0].Field != "x" {
		t.Errorf("%v", err)
	}
	if out[0] != 1 || out[1] != 3 {
		t.Errorf("scores %v", out)
	}
}

func TestRefusedPlugins(t *testing.T) {
	b := testkit.WASM(t)
	for name, c := range map[string]struct {
		manifest string
		module   []byte
		want     string
	}{
		"other names":  {"features: [{name: x, dtype: float64}, {name: z, dtype: float64}]\n", distance(t), `feature 1 is "z" in the manifest and "y" in the plugin`},
		"other number": {"features: [{name: x, dtype: float64}]\n", distance(t), "lists 1 features; the plugin has 2"},
		"other dtype":  {"features: [{name: x, dtype: float32}, {name: y, dtype: float32}]\n", distance(t), "matrix of float32; the plugin takes float64"},
		"init fails":   {xy + "config: {centre: [1]}\n", distance(t), "the centre has 1 values for 2 features"},
		"too little":   {xy + "limits: {memory: 1MiB}\nconfig: {centre: [1, 1]}\n", distance(t), "memory"},
		"no module":    {xy, []byte("nonsense"), "does not begin"},
		"empty module": {xy, []byte("\x00asm\x01\x00\x00\x00"), "it does not export its memory"},
	} {
		t.Run(name, func(t *testing.T) {
			m := model(t, c.manifest)
			m.Limits.LoadTimeout = 3 * time.Minute // for the race detector's compiler on a busy machine
			_, err := open(t, b, m, c.module, nil)
			if !errors.Is(err, backends.ErrRefused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	strings1 := model(t, "features: [{name: x, dtype: string}]\n")
	if _, err := b.Inspect(t.Context(), artifact(strings1, distance(t), nil)); err == nil || !strings.Contains(err.Error(), "use the onnx or process backend") {
		t.Errorf("a string feature: %v", err)
	}
	empty := model(t, "")
	if d, err := b.Inspect(t.Context(), artifact(empty, distance(t), nil)); err != nil || len(d.Features) == 0 || len(empty.Features) != 0 {
		t.Errorf("features from the module: %+v, %v", d, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Inspect(ended, artifact(empty, distance(t), nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("when nobody waits any more: %v", err)
	}
}

// TestHostile checks that whatever a module does, it ends in time with a known
// cause.
func TestHostile(t *testing.T) {
	b := testkit.WASM(t)
	for _, c := range hostile.Attacks() {
		if c.Slow {
			continue // the whole command is tested with it, without -race
		}
		t.Run(c.Name, func(t *testing.T) {
			timeout, load := 10*time.Minute, 10*time.Minute
			if c.OrLate {
				timeout, load = 100*time.Millisecond, 3*time.Second
			}
			m := model(t, xy+"limits: {memory: 8MiB}\n")
			m.Limits.LoadTimeout = load
			s, err := open(t, b, m, c.Module, nil)
			if err == nil {
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				out := make([]float64, 1)
				if err = s.Score(ctx, rows(t, m, []float64{1, 2}), out); err == nil && c.Scores && math.IsNaN(out[0]) {
					return
				}
			}
			named := err != nil && c.Want != "" && strings.Contains(err.Error(), c.Want)
			late := c.OrLate && errors.Is(err, context.DeadlineExceeded)
			if !named && !late {
				t.Errorf("ended with %v, want %q, or late: %v", err, c.Want, c.OrLate)
			}
			if len(fmt.Sprint(err)) > 4000 || strings.Contains(fmt.Sprint(err), "wasm stack trace") {
				t.Errorf("the error is not fit to print: %v", err)
			}
		})
	}
}

// TestPrivateCache checks that without a configured directory the backend makes one
// that only this user can read, and removes it.
func TestPrivateCache(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	b := wasm.New(wasm.Config{Instances: 1, Log: slog.New(slog.DiscardHandler)})
	s, err := open(t, b, model(t, xy), hostile.Plain(), nil)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float64, 2)
	if err := s.Score(t.Context(), rows(t, model(t, xy), []float64{1, 2}, []float64{3, 4}), out); err != nil || out[0] != 1 || !math.IsNaN(out[1]) {
		t.Errorf("%v, %v", out, err)
	}
	entries, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", entries, err)
	}
	if info, err := entries[0].Info(); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if entries, _ = os.ReadDir(os.Getenv("TMPDIR")); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
	open := t.TempDir()
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := wasm.New(wasm.Config{CacheDir: open}).Err(); err == nil || !errors.Is(err, private.ErrExposed) {
		t.Errorf("a cache that others can read: %v", err)
	}
	if os.Geteuid() != 0 {
		return // only root can give a directory away
	}
	if err := errors.Join(os.Chmod(open, 0o700), os.Chown(open, 12345, 12345)); err != nil {
		t.Fatal(err)
	}
	if err := wasm.New(wasm.Config{CacheDir: open}).Err(); err == nil || !strings.Contains(err.Error(), "user 12345 owns "+open) {
		t.Errorf("a cache of another user: %v", err)
	}
}

// TestDamagedCache checks that truncated files are replaced.
func TestDamagedCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	score := func() {
		t.Helper()
		b := wasm.New(wasm.Config{CacheDir: dir, Instances: 1, Compiler: testkit.Compiler(t), Log: slog.New(slog.DiscardHandler)})
		s, err := open(t, b, model(t, xy), hostile.Plain(), nil)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]float64, 1)
		if err := s.Score(t.Context(), rows(t, model(t, xy), []float64{1, 2}), out); err != nil || out[0] != 1 {
			t.Fatalf("%v, %v", out, err)
		}
	}
	score()
	cut := 0
	for round := range 3 { // each kind of file alone, then all
		err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
			metered := strings.HasSuffix(file, "metered.wasm")
			if err != nil || d.IsDir() || (round == 0 && !metered) || (round == 1 && metered) {
				return err
			}
			cut++
			return os.Truncate(file, 40)
		})
		if err != nil {
			t.Fatal(err)
		}
		score()
	}
	if cut < 4 {
		t.Errorf("only %d files were cut", cut)
	}
	// Without its code, a module is compiled again, but not in this process.
	codes := func() []string {
		names, err := filepath.Glob(filepath.Join(dir, "*", "code", "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	for _, name := range codes() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	b := wasm.New(wasm.Config{CacheDir: dir, Instances: 1, Compiler: "/none", Log: slog.New(slog.DiscardHandler)})
	if _, err := open(t, b, model(t, xy), hostile.Plain(), nil); err == nil || !strings.Contains(err.Error(), "/none") {
		t.Errorf("without code, and without a compiler: %v", err)
	}
	score()
	if len(codes()) == 0 {
		t.Error("there is no code")
	}
}

func TestUnwritableCache(t *testing.T) {
	b := wasm.New(wasm.Config{CacheDir: "/proc/nothing/here", Log: slog.New(slog.DiscardHandler)})
	if err := b.Err(); !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "cache_dir") {
		t.Errorf("%v", err)
	}
	if _, err := open(t, b, model(t, xy), distance(t), nil); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("%v", err)
	}
}
