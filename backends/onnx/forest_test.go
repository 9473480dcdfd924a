package onnx_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/plan"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// artifactOf is artifact for graphs whose score has to be named.
func artifactOf(t *testing.T, b *onnx.Backend, file string) backends.Artifact {
	t.Helper()
	var err error
	for _, output := range []string{"", "scores", "score_samples"} {
		var a backends.Artifact
		if a, err = artifact(t, b, file, func(m *manifest.Manifest) {
			if output != "" {
				m.Output.Name = output
			}
		}); err == nil {
			return a
		}
	}
	t.Fatalf("%s: %v", file, err)
	return backends.Artifact{}
}

// TestOtherGraphsAreNotRecognised checks that graphs that are no forests are left alone,
// with the reason.
func TestOtherGraphsAreNotRecognised(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	for file, want := range map[string]string{
		testkit.Testdata("models", "mammography-gmm", "1.0.0", "model.onnx"):     "not one of the known operators",
		testkit.Testdata("models", "thyroid-autoencoder", "1.0.0", "model.onnx"): "not one of the known operators",
		testkit.Testdata("models", "thyroid-ocsvm", "1.0.0", "model.onnx"):       "not one of the known operators",
		testkit.Testdata("variants", "plain-sum.onnx"):                           "there is no tree",
	} {
		a := artifactOf(t, b, file)
		g, err := graph.Check(a.Bytes, graph.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := onnx.Recognise(a, g); !errors.Is(err, plan.ErrUnknown) || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), plan.ErrUnknown.Error()) != 1 {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}

func engineOf(t *testing.T, s sdk.Scorer) backends.Engine {
	t.Helper()
	e, ok := s.(backends.EngineReporter)
	if !ok {
		t.Fatalf("%T reports no engine", s)
	}
	return e.Engine()
}

func TestForestsSetting(t *testing.T) {
	file, other := testkit.Testdata("models", "cardio-iforest-fused", "1.0.0", "model.onnx"), testkit.Testdata("variants", "plain-sum.onnx")
	open := func(c onnx.Config, file string, change func(*backends.Artifact)) (sdk.Scorer, error) {
		t.Helper()
		c.Log = discard()
		b := onnx.New(c)
		a := artifactOf(t, b, file)
		if change != nil {
			change(&a)
		}
		s, err := b.Open(t.Context(), a)
		if err == nil {
			t.Cleanup(func() { _ = s.Close() })
		}
		return s, err
	}
	none := filepath.Join(t.TempDir(), "none.so")
	original := func(a *backends.Artifact) { a.Original = true }
	coupled := func(a *backends.Artifact) { a.Manifest.BatchDependent = true }
	for name, c := range map[string]struct {
		config       onnx.Config
		file         string
		change       func(*backends.Artifact)
		engine, want string // want: part of the detail, or of the error
	}{
		"auto":                     {onnx.Config{Library: testkit.Library(), Probe: onnx.ProbeChild}, file, nil, "forest", "this host: proved"},
		"another graph":            {onnx.Config{Library: testkit.Library(), Probe: onnx.ProbeChild}, other, nil, "onnxruntime", "no tree"},
		"off":                      {onnx.Config{Library: testkit.Library(), Probe: onnx.ProbeChild, Forests: onnx.ForestsOff}, file, nil, "onnxruntime", "is off"},
		"only":                     {onnx.Config{Library: testkit.Library(), Probe: onnx.ProbeChild, Forests: onnx.ForestsOnly}, file, nil, "forest", "unproved"},
		"only, another graph":      {onnx.Config{Library: testkit.Library(), Probe: onnx.ProbeChild, Forests: onnx.ForestsOnly}, other, nil, "", "forests is only"},
		"without the library":      {onnx.Config{Library: none}, file, nil, "forest", "no ONNX Runtime"},
		"without it, only":         {onnx.Config{Library: none, Forests: onnx.ForestsOnly}, file, nil, "forest", "unproved"},
		"without it, off":          {onnx.Config{Library: none, Forests: onnx.ForestsOff}, file, nil, "", "cannot be served"},
		"without it, another":      {onnx.Config{Library: none}, other, nil, "", "only forests and searches for neighbours are served"},
		"the graph itself":         {onnx.Config{Library: testkit.Library(), Probe: onnx.ProbeChild}, file, original, "onnxruntime", "did not pass the probe"},
		"without it, itself":       {onnx.Config{Library: none}, file, original, "", "cannot be served"},
		"rows that influence rows": {onnx.Config{Library: testkit.Library(), Probe: onnx.ProbeChild}, file, coupled, "onnxruntime", "influence"},
		"in this process":          {onnx.Config{Library: testkit.Library(), Probe: onnx.ProbeInProcess}, file, nil, "forest", "this host: proved"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.config.Library != none && c.config.Forests != onnx.ForestsOnly {
				testkit.NeedRuntime(t)
			}
			s, err := open(c.config, c.file, c.change)
			if c.engine == "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("error %v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if e := engineOf(t, s); e.Name != c.engine || !strings.Contains(e.Detail, c.want) {
				t.Errorf("engine %+v, want %s with %q", e, c.engine, c.want)
			}
			if bounded, ok := s.(sdk.Bounded); !ok || !bounded.Bounded() {
				t.Error("it is not bounded")
			}
		})
	}
}

// TestForestsAreRemembered checks that a forest that was proved needs no session at
// the next start, and that a manifest that asks for more is compared again.
func TestForestsAreRemembered(t *testing.T) {
	state := t.TempDir()
	file := "testdata/forests/iforest.onnx"
	load := func(tolerance float64) backends.Engine {
		t.Helper()
		b := testkit.ONNX(t, state)
		a := artifactOf(t, b, file)
		a.Manifest.Golden = &manifest.Golden{Tolerance: tolerance}
		s, err := b.Open(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return engineOf(t, s)
	}
	first := load(1e-5)
	_, text := proof(t, state)
	if !strings.Contains(text, `"Forests":{"`) || first.Name != "forest" {
		t.Fatalf("proof %s, engine %+v", text, first)
	}
	if again := load(1e-5); again != first {
		t.Errorf("at the next start: %+v, want %+v", again, first)
	}
	if _, now := proof(t, state); now != text {
		t.Error("the proof was written again")
	}
	if e := load(0); e.Name == "forest" && !strings.Contains(e.Detail, "bit for bit") {
		t.Errorf("with a tolerance of 0: %+v", e)
	}
}

// TestForestOverridden checks that a forest that differs from its graph does not serve.
func TestForestOverridden(t *testing.T) {
	m := manifest.Defaults()
	threshold := 0.5
	m.Threshold = &threshold
	for name, c := range map[string]struct {
		want, got []float64
		ok        bool
	}{
		"equal":            {[]float64{1, math.NaN(), math.Inf(1)}, []float64{1, math.NaN(), math.Inf(1)}, true},
		"close":            {[]float64{1, 0.25}, []float64{1 + 5e-7, 0.25}, true},
		"far":              {[]float64{1, 0.25}, []float64{1 + 5e-6, 0.25}, false},
		"behind a far one": {[]float64{1e12, 1, 2, 3}, []float64{1e12, 1.001, 2, 3}, false},
		"a far one":        {[]float64{1e12, 1, 2, 3}, []float64{1e12 + 5e5, 1, 2, 3}, true},
		"near 0":           {[]float64{1e-9, 0.5, 1, 2}, []float64{1.5e-7, 0.5, 1, 2}, true},
		"mostly 0":         {[]float64{0, 0, 0, 2}, []float64{0, 0, 1e-7, 2}, true},
		"NaN":              {[]float64{1}, []float64{math.NaN()}, false},
		"a number for NaN": {[]float64{1, math.NaN()}, []float64{1, 0}, false},
		"infinite":         {[]float64{1, math.Inf(1)}, []float64{1, math.Inf(-1)}, false},
		"another flag":     {[]float64{1, 0.5}, []float64{1, math.Nextafter(0.5, 1)}, false},
	} {
		if _, err := onnx.Differ(m, c.want, c.got); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	m.Golden = &manifest.Golden{} // accepts equal scores only
	if _, err := onnx.Differ(m, []float64{1, 0.25}, []float64{1 + 5e-7, 0.25}); err == nil {
		t.Error("scores that differ pass a tolerance of 0")
	}
}

// TestComparedCalls checks that no call of a comparison has more rows than were proved to
// fit the memory.
func TestComparedCalls(t *testing.T) {
	for _, c := range []struct {
		proved, each int
		took         time.Duration
		rows, call   int
	}{
		{10000, 1, time.Millisecond, 1024, 256}, {10000, 4, time.Second, 1024, 256}, {100, 4, time.Second, 64, 25}, {100, 1, time.Millisecond, 1024, 100},
		{1, 16, time.Second, 64, 1}, {1, 0, 0, 1024, 1},
	} {
		if rows, call := onnx.Compared(c.proved, c.took, c.each); rows != c.rows || call != c.call {
			t.Errorf("%+v: %d rows, %d in a call", c, rows, call)
		}
	}
}

// TestForestEnds checks that a long call ends with its context.
func TestForestEnds(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	a := artifactOf(t, b, "testdata/forests/iforest.onnx")
	s, err := b.Open(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const rows = 100_000
	in := sdk.NewBatch(a.Manifest.SDKFeatures())
	in.Resize(rows)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Score(ctx, in, make([]float64, rows)); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled call: %v", err)
	}
}

// TestForestsWithoutLibrary checks golden rows of the samples that are forests or search for
// neighbours, in a host without ONNX Runtime. It holds in builds without cgo, too.
func TestForestsWithoutLibrary(t *testing.T) {
	b := onnx.New(onnx.Config{Library: filepath.Join(t.TempDir(), "none.so"), Log: discard()})
	for name, engine := range map[string]string{"cardio-iforest": "forest", "cardio-iforest-fused": "forest", "breast-cancer-mixed": "forest", "pima-lof": "neighbours"} {
		dir := testkit.Testdata("models", name, "1.0.0")
		a := artifactOf(t, b, filepath.Join(dir, "model.onnx"))
		s, err := b.Open(t.Context(), a)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if e := engineOf(t, s); e.Name != engine || !strings.Contains(e.Detail, "unproved") {
			t.Errorf("%s: engine %+v", name, e)
		}
		data, err := os.ReadFile(filepath.Join(dir, "golden.ndjson"))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
			var row struct {
				Data  map[string]any
				Score float64
			}
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				t.Fatal(err)
			}
			in, out := sdk.NewBatch(a.Manifest.SDKFeatures()), make([]float64, 1)
			in.Resize(1)
			for j, f := range a.Manifest.SDKFeatures() {
				v := row.Data[named(row.Data, f.Name, j)]
				if x, ok := v.(float64); ok && f.DType == sdk.Int64 {
					v = int64(x)
				}
				converted, err := manifest.Convert(v, f.DType)
				if err != nil {
					t.Fatal(err)
				}
				if err := in.SetValue(0, j, converted); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Score(t.Context(), in, out); err != nil || math.Abs(-out[0]-row.Score) > 1e-6 {
				t.Errorf("%s: a golden row scores %v, want %v: %v", name, -out[0], row.Score, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// named returns the name of a feature in a golden row: the graph's, or that of the column
// in the manifest, whose names are in order.
func named(row map[string]any, name string, j int) string {
	if _, ok := row[name]; ok {
		return name
	}
	return slices.Sorted(maps.Keys(row))[j]
}
