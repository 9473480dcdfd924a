package onnx_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/internal/host"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// artifact completes a manifest for a graph and invents a probe row.
func artifact(t *testing.T, b *onnx.Backend, file string, change func(*manifest.Manifest)) (backends.Artifact, error) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m := manifest.Defaults()
	m.ID, m.Derived = "m", true
	m.Limits.LoadTimeout = 10 * time.Minute // ends only a graph that hangs
	if change != nil {
		change(m)
	}
	before := m.Clone()
	d, err := b.Inspect(t.Context(), backends.Artifact{Manifest: m, Bytes: data})
	if err != nil {
		return backends.Artifact{}, err
	}
	if !reflect.DeepEqual(m, before) {
		t.Errorf("the manifest was changed from %+v to %+v", before, m)
	}
	m = m.With(d)
	rows := sdk.NewBatch(m.SDKFeatures())
	rows.Resize(1)
	return backends.Artifact{Manifest: m, Bytes: data, Digest: filepath.Base(file), ProbeRows: rows}, nil
}

func open(t *testing.T, b *onnx.Backend, file string, change func(*manifest.Manifest)) (sdk.Scorer, error) {
	t.Helper()
	a, err := artifact(t, b, file, change)
	if err != nil {
		return nil, err
	}
	s, err := b.Open(t.Context(), a)
	if err == nil {
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return s, err
}

type variant struct {
	Rows [][]any
	Raw  []float64
}

func trusted(m *manifest.Manifest) { m.Trusted = true }

// TestVariants scores all kinds of inputs and outputs, row by row and in a
// batch.
func TestVariants(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	files, err := filepath.Glob(testkit.Testdata("variants", "*.json"))
	if err != nil || len(files) < 10 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var v variant
			if err := json.Unmarshal(data, &v); err != nil {
				t.Fatal(err)
			}
			s, err := open(t, b, strings.TrimSuffix(file, "json")+"onnx", trusted)
			if err != nil {
				t.Fatal(err)
			}
			features := s.Info().Features
			batch := sdk.NewBatch(features)
			batch.Resize(len(v.Rows))
			for i, row := range v.Rows {
				for j, f := range features {
					value := row[j]
					if i64, ok := value.(float64); ok && f.DType == sdk.Int64 {
						value = int64(i64)
					}
					converted, err := manifest.Convert(value, f.DType)
					if err != nil {
						t.Fatal(err)
					}
					if err := batch.SetValue(i, j, converted); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, size := range []int{1, 3, len(v.Rows)} {
				for from := 0; from < len(v.Rows); from += size {
					to := min(from+size, len(v.Rows))
					if strings.HasPrefix(name, "data-loop") && size != len(v.Rows) {
						continue // it loops as often as its largest row says
					}
					out := make([]float64, to-from)
					if err := s.Score(t.Context(), batch.Slice(from, to), out); err != nil {
						t.Fatalf("rows %d to %d: %v", from, to, err)
					}
					for i, got := range out {
						if want := v.Raw[from+i]; math.Abs(got-want) > 1e-5 {
							t.Errorf("row %d of batches of %d: %v, want %v", from+i, size, got, want)
						}
					}
				}
			}
		})
	}
}

// TestSuspicious checks that dangerous graphs are refused with the cause.
func TestSuspicious(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	suspicious, bad := testkit.Testdata("suspicious"), testkit.Testdata("bad")
	for _, c := range []struct{ dir, name, want string }{
		{suspicious, "broadcast-bomb", "limits.memory"},
		{suspicious, "data-expand", "depends on the data"},
		{suspicious, "duplicate-initializer", "given twice"},
		{suspicious, "mem-addr", "another file"},
		{suspicious, "nonzero", "depends on the data"},
		{suspicious, "one-score", "for any number of rows"},
		{suspicious, "one-score-undeclared", "has shape [1] for 2 rows"},
		{suspicious, "rank3-output", "one score per row"},
		{suspicious, "scalar-output", "one score per row"},
		{suspicious, "string-output", "must be float or double"},
		{suspicious, "subgraph-external", "another file"},
		{suspicious, "unknown-field", "field 1000"},
		{suspicious, "deep-subgraph", "nested more than"},
		{bad, "truncated", "cut short"},
		{bad, "not-onnx", "ONNX does not define"},
		{bad, "empty", "empty"},
		{bad, "external-data", "keeps its values in another file, as exporters write large models (name.onnx with name.onnx.data): write one file, by torch.onnx.export(..., external_data=False)"},
		{bad, "wrong-domain", "com.example.private"},
		{bad, "huge-dim", "102 GB"},
		{bad, "huge-alloc", "160000 x 160000"},
		{bad, "zipmap", "zipmap=False"},
		{bad, "infinite-loop", "iterations"},
		{bad, "two-outputs-no-hint", "output.name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := open(t, b, filepath.Join(c.dir, c.name+".onnx"), nil)
			if !errors.Is(err, backends.ErrRefused) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// TestProbeLimits checks that graphs which pass the check of a trusted manifest
// are proved under limits, in a process whose end harms nothing.
func TestProbeLimits(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	for name, want := range map[string]string{"huge-alloc": "limits.memory", "infinite-loop": "limits.load_timeout"} {
		_, err := open(t, b, testkit.Testdata("bad", name+".onnx"), func(m *manifest.Manifest) {
			m.Trusted = true
			m.Limits.LoadTimeout = 5 * time.Second
		})
		// A busy machine is no verdict on a graph.
		starved := errors.Is(err, backends.ErrSurroundings) && strings.Contains(err.Error(), "the machine is busy")
		if !starved && (!errors.Is(err, backends.ErrRefused) || backends.Surroundings(err) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
}

// TestDeadline checks that an endless run ends at its deadline and that the
// session still works.
func TestDeadline(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	s, err := open(t, b, testkit.Testdata("variants", "data-loop.onnx"), trusted)
	if err != nil {
		t.Fatal(err)
	}
	batch := sdk.NewBatch(s.Info().Features)
	batch.Resize(1)
	copy(batch.Float32s(), []float32{1e18, 0, 0, 0})
	out := make([]float64, 1)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := s.Score(ctx, batch, out)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("the endless run ended with %v", err)
		}
	}
	copy(batch.Float32s(), []float32{2, 3, 4, 5})
	if err := s.Score(t.Context(), batch, out); err != nil || out[0] != 14 {
		t.Errorf("after a deadline: %v, %v", out, err)
	}
}

// TestProofsAreRemembered checks that a second load of a graph starts no
// process, even after a restart.
func TestProofsAreRemembered(t *testing.T) {
	state := t.TempDir()
	file := testkit.Testdata("variants", "plain-sum.onnx")
	if _, err := open(t, testkit.ONNX(t, state), file, nil); err != nil {
		t.Fatal(err)
	}
	proofs, err := os.ReadDir(filepath.Join(state, "onnx-proved"))
	if err != nil || len(proofs) != 1 {
		t.Fatalf("%d proofs, %v", len(proofs), err)
	}
	before := proofs[0].Name()
	if _, err := open(t, testkit.ONNX(t, state), file, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, testkit.ONNX(t, state), file, func(m *manifest.Manifest) { m.Limits.MaxBatchRows = 5 }); err != nil {
		t.Fatal(err)
	}
	proofs, err = os.ReadDir(filepath.Join(state, "onnx-proved"))
	if err != nil || len(proofs) != 2 {
		t.Errorf("other limits need another proof: %d proofs (first %s), %v", len(proofs), before, err)
	}
}

func TestMismatches(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	feature := func(name string, dtype sdk.DType) manifest.Feature {
		return manifest.Feature{Feature: sdk.Feature{Name: name, DType: dtype}}
	}
	for _, c := range []struct {
		file, want string
		change     func(*manifest.Manifest)
	}{
		{"plain-sum", "takes 4", func(m *manifest.Manifest) { m.Features = []manifest.Feature{feature("a", sdk.Float32)} }},
		{"fixed-one", "is float64 in the manifest", func(m *manifest.Manifest) {
			m.Features = []manifest.Feature{feature("a", sdk.Float64), feature("b", sdk.Float64), feature("c", sdk.Float64)}
		}},
		{"plain-sum", `names input "Y"`, func(m *manifest.Manifest) { m.Input = "Y" }},
		{"plain-sum", `names output "other"`, func(m *manifest.Manifest) { m.Output.Name = "other" }},
		{"columns-rank1", `"c" is no input`, func(m *manifest.Manifest) {
			m.Features = []manifest.Feature{feature("a", sdk.Float32), feature("c", sdk.Float32)}
		}},
	} {
		_, err := open(t, b, testkit.Testdata("variants", c.file+".onnx"), c.change)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.file, err, c.want)
		}
	}
}

func TestNoLibrary(t *testing.T) {
	b := onnx.New(onnx.Config{Library: filepath.Join(t.TempDir(), "none.so"), Log: slog.New(slog.DiscardHandler)})
	if err := b.Err(); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	if _, err := b.Open(t.Context(), backends.Artifact{Manifest: manifest.Defaults()}); !errors.Is(err, backends.ErrUnavailable) {
		t.Errorf("open: %v", err)
	}
}

// TestUnloadingGivesMemoryBack loads and unloads one model many times.
func TestUnloadingGivesMemoryBack(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	a, err := artifact(t, b, testkit.Testdata("models", "cardio-iforest-fused", "1.0.0", "model.onnx"), func(m *manifest.Manifest) {
		m.Output.Name = "scores"
	})
	if err != nil {
		t.Fatal(err)
	}
	var early int64
	for i := range 100 {
		s, err := b.Open(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Score(t.Context(), a.ProbeRows, make([]float64, 1)); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if i == 19 {
			early = host.ResidentBytes()
		}
	}
	if late := host.ResidentBytes(); float64(late) > 1.15*float64(early)+8<<20 {
		t.Errorf("%d MiB resident after 20 loads, %d MiB after 100", early>>20, late>>20)
	}
}
