package model_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// openWith opens a model whose score is its only feature, with a file f.
func openWith(t *testing.T, extra string, file []byte) (*model.Model, error) {
	t.Helper()
	dir := t.TempDir()
	modeltest.WriteModel(t, dir, "m", "1.0.0", modeltest.Simple("m", "1.0.0")+extra)
	modeltest.Check(t, os.WriteFile(filepath.Join(dir, "m", "1.0.0", "f"), file, 0o600))
	modeltest.Check(t, os.WriteFile(filepath.Join(dir, "m", "1.0.0", "t"), encoded(0, 1, 2, 3), 0o600))
	all, err := modelstore.Find(dir)
	modeltest.Check(t, err)
	sums := modeltest.Bare{Make: func(*manifest.Manifest) sdk.Scorer { return modeltest.Sums{} }}
	return all[0].Open(t.Context(), model.Backends{manifest.BackendONNX: sums}, batching.NewCalls(1))
}

func encoded(scores ...float64) []byte {
	var out []byte
	for _, v := range scores {
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(v))
	}
	return out
}

// TestCalibrationThatCannotWork checks that a calibration that cannot work is
// refused, with what to change.
func TestCalibrationThatCannotWork(t *testing.T) {
	for _, c := range []struct {
		name, calibration string
		scores            []byte
		want              string
	}{
		{"no scores", "{method: ecdf, scores: f}", nil, "0 bytes"},
		{"half a score", "{method: ecdf, scores: f}", make([]byte, 12), "12 bytes"},
		{"NaN", "{method: ecdf, scores: f}", encoded(1, math.NaN()), "training score 1 is NaN: leave out rows"},
		{"infinite", "{method: unify, scores: f}", encoded(1, math.Inf(1)), "training score 1 is +Inf: leave out rows"},
		{"not sorted", "{method: ecdf, scores: f}", encoded(2, 1), "sorted"},
		{"equal, linear", "{method: linear, scores: f}", encoded(0.1, 0.1, 0.1), "scores that differ"},
		{"equal, unify", "{method: unify, scores: f}", encoded(0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1), "ecdf_midrank takes any"},
		{"equal, ecdf", "{method: ecdf, scores: f}", encoded(0.1, 0.1, 0.1), ""},
		{"equal, ecdf_midrank", "{method: ecdf_midrank, scores: f}", encoded(0.1, 0.1, 0.1), ""},
		{"min above the scores", "{method: linear, min: 5, scores: f}", encoded(1, 2), "max is larger"},
		{"min above max", "{method: linear, min: 5, max: 1}", nil, "calibration.max"},
		{"min is NaN", "{method: linear, min: .nan, max: 1}", nil, "calibration.min"},
		{"max is infinite", "{method: linear, min: 0, max: .inf}", nil, "calibration.max"},
		{"std of 0", "{method: unify, mean: 0, std: 0}", nil, "calibration.std"},
		{"std is NaN", "{method: unify, mean: 0, std: .nan}", nil, "calibration.std"},
		{"huge", "{method: unify, scores: f}", encoded(-1, 1e308, 1e308), ""},
		{"wide", "{method: linear, scores: f}", encoded(-1.7e308, 1.7e308), ""},
		{"tiny", "{method: linear, scores: f}", encoded(0, 5e-324), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := openWith(t, "calibration: "+c.calibration+"\n", c.scores)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("error %v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			before := 0.0
			for _, s := range []float64{-math.MaxFloat64, -1e308, -1, 0, 5e-324, 1, 1e160, 1e308, math.MaxFloat64} {
				p := m.Judge(s, true)
				if !(p.Value >= before && p.Value <= 1) {
					t.Errorf("a score of %v is predicted %v", s, p.Value)
				}
				before = p.Value
			}
		})
	}
}

// TestMidranks compares predictions with scipy.stats.percentileofscore(kind="mean") / 100,
// and those of ecdf with kind="weak".
func TestMidranks(t *testing.T) {
	ties := make([]float64, 100) // 93 of 100 are equal
	for i := 93; i < 100; i++ {
		ties[i] = float64(i)
	}
	for _, c := range []struct {
		name           string
		scores         []float64
		at, mid, whole float64
	}{
		{"the commonest", ties, 0, 0.465, 0.93},
		{"below all", ties, -1, 0, 0},
		{"the first above", ties, 93, 0.935, 0.94},
		{"between", ties, 93.5, 0.94, 0.94},
		{"above all", ties, 200, 1, 1},
		{"one of three", []float64{1, 2, 3}, 2, 0.5, 2.0 / 3},
		{"all equal", []float64{7, 7, 7}, 7, 0.5, 1},
		{"zero and minus zero are equal", []float64{math.Copysign(0, -1), 0, 1, 2}, 0, 0.25, 0.5},
		{"a single one", []float64{4}, 4, 0.5, 1},
	} {
		for method, want := range map[string]float64{manifest.CalibrateMidrank: c.mid, manifest.CalibrateECDF: c.whole} {
			m, err := openWith(t, "calibration: {method: "+method+", scores: f}\n", encoded(c.scores...))
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Judge(c.at, true).Value; got != want {
				t.Errorf("%s: %s gives %v, want %v", c.name, method, got, want)
			}
			modeltest.Check(t, m.Close())
		}
	}
}

// TestGoldenTolerance checks that golden scores agree relative to their spread,
// whether scores are small or large.
func TestGoldenTolerance(t *testing.T) {
	lines := func(scores ...float64) []byte {
		var out strings.Builder
		for _, v := range scores {
			fmt.Fprintf(&out, `{"data": [%v], "score": %v}`+"\n", v, v)
		}
		return []byte(out.String())
	}
	off := func(row int, by float64, scores ...float64) []byte {
		var out strings.Builder
		for i, v := range scores {
			want := v
			if i == row {
				want += by
			}
			fmt.Fprintf(&out, `{"data": [%v], "score": %v}`+"\n", v, want)
		}
		return []byte(out.String())
	}
	equal := []float64{3, 3, 3, 3, 3, 3, 3, 3, 3, 3}
	for _, c := range []struct {
		name, extra string
		file        []byte
		want        string
	}{
		{"small and right", "golden: {rows: f}\n", lines(1e-6, 9e-6, 5e-6, 3e-6), ""},
		{"small and wrong", "golden: {rows: f}\n", off(0, 8e-6, 1e-6, 9e-6, 5e-6, 3e-6), "golden row 0 scored 1e-06; the manifest expects 9e-06"},
		{"within the spread's share", "golden: {rows: f}\n", off(1, 3e-6, 0, 1, 2, 3), ""},
		{"beyond it", "golden: {rows: f}\n", off(1, 3e-5, 0, 1, 2, 3), "golden row 1"},
		{"one far out does not hide the others", "golden: {rows: f}\n", off(1, 0.1, 0, 1, 2, 3, 4, 1e9), "golden row 1"},
		{"it is itself measured by how far out it is", "golden: {rows: f}\n", off(5, 100, 0, 1, 2, 3, 4, 1e9), ""},
		{"far from 0 and close together", "golden: {rows: f}\n", off(1, 0.01, 1000, 1001, 1002, 1003), "golden row 1"},
		{"ten equal rows", "golden: {rows: f}\n", lines(equal...), ""},
		{"ten equal rows, one off by rounding", "golden: {rows: f}\n", off(4, 5e-7, equal...), ""},
		{"ten equal rows of a model whose training scores differ", "golden: {rows: f}\ncalibration: {method: ecdf, scores: t}\n", off(4, 5e-6, equal...), ""},
		{"ten equal rows, one wrong", "golden: {rows: f}\n", off(4, 1e-3, equal...), "golden row 4"},
		{"ten zeros", "golden: {rows: f}\n", lines(0, 0, 0, 0, 0, 0, 0, 0, 0, 0), ""},
		{"ten zeros, one wrong", "golden: {rows: f}\n", off(4, 1e-9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), "golden row 4"},
		{"a tolerance of its own", "golden: {rows: f, tolerance: 0.1}\n", off(1, 0.1, 0, 1, 2, 3), ""},
		{"no tolerance", "golden: {rows: f, tolerance: 0}\n", off(1, 1e-12, 0, 1, 2, 3), "golden row 1"},
		{"no tolerance, and right", "golden: {rows: f, tolerance: 0}\n", lines(0, 1, 2, 3), ""},
		{"the largest", "golden: {rows: f}\n", lines(-1.7e308, 1.7e308, 0, 1), ""},
		{"the largest, and wrong", "golden: {rows: f}\n", off(2, 1e308, -1.7e308, 1.7e308, 0, 1), "golden row 2"},
		{"beyond the largest", "golden: {rows: f}\n", []byte(`{"data": [1], "score": 1e999}`), "beyond the largest"},
		{"a tolerance that is none", "golden: {rows: f, tolerance: .nan}\n", lines(1), "golden.tolerance"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := openWith(t, c.extra, c.file)
			if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			if m != nil {
				modeltest.Check(t, m.Close())
			}
		})
	}
}
