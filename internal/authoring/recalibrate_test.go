package authoring

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/plugins"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// contentsOf returns a directory's files.
func contentsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		out[d.Name()] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// numbersFile writes a file of training rows with one column, x.
func numbersFile(t *testing.T, values ...float64) string {
	t.Helper()
	var text strings.Builder
	text.WriteString("x\n")
	for _, v := range values {
		fmt.Fprintln(&text, v)
	}
	file := filepath.Join(t.TempDir(), "train.csv")
	modeltest.Check(t, os.WriteFile(file, []byte(text.String()), 0o600))
	return file
}

const ownText = `# What I wrote.
apiVersion: pynomaly.io/v1
kind: Model
id: mine
version: 1.0.0
description: as I say   # really
backend: onnx
artifact: model.onnx

features:
  - {name: x, dtype: float64}
threshold: 99 # a guess
golden: {rows: checked.ndjson, tolerance: 0.001}
# Slow machines.
limits: {timeout: 5m, load_timeout: 10m}
`

// writeOwn writes a model whose golden rows are wrong, and returns its place.
func writeOwn(t *testing.T, a Author, text string) modelstore.Place {
	t.Helper()
	dir := filepath.Join(a.Store.Dir, "mine", "1.0.0")
	modeltest.Check(t, os.MkdirAll(dir, 0o750))
	for name, data := range map[string]string{"model.onnx": "graph", "checked.ndjson": `{"data": {"x": 1}, "score": 77}`, manifest.FileName: text} {
		modeltest.Check(t, os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600))
	}
	at, err := a.Store.FindOne(dir)
	modeltest.Check(t, err)
	return at
}

// TestCalibrateKeepsWords checks that Calibrate changes what follows from the training
// rows, and nothing else.
func TestCalibrateKeepsWords(t *testing.T) {
	var values []float64
	for i := range 100 {
		values = append(values, float64(i))
	}
	train := numbersFile(t, values...)
	twice := func(x float64, _, _ int) float64 { return 2 * x }
	for _, c := range []struct {
		name, text    string
		contamination float64
		want, keep    []string
	}{
		{"as written", ownText, 0.2, []string{"threshold: 158.4\n", "golden: {rows: checked.ndjson, tolerance: 0.001}\n", "calibration: {method: ecdf, scores: train_scores.f64}\n", "confidence: {contamination: 0.2, training_size: 100}\n", "drift: {bins: drift.yaml}\n", "reference: {x: 49}"}, []string{"# What I wrote.\n", "description: as I say   # really\n", "artifact: model.onnx\n\nfeatures:\n  - {name: x, dtype: float64}\n", "# Slow machines.\nlimits: {timeout: 5m, load_timeout: 10m}\n"}},
		{"its contamination", strings.Replace(ownText, "threshold: 99 # a guess\n", "threshold: 1\ncalibration: {method: ecdf, scores: own.f64}\nconfidence: {contamination: 0.3}\n", 1), 0, []string{"threshold: 138.6", "confidence: {contamination: 0.3, training_size: 100}", "calibration: {method: ecdf, scores: own.f64}"}, nil},
		{"its method", strings.Replace(ownText, "threshold: 99 # a guess\n", "calibration: {method: linear, min: 1, max: 2}\n", 1), 0.1, []string{"threshold: 178.2", "calibration: {method: linear, scores: train_scores.f64}\n"}, nil},
		{"its reference", ownText + "explanation: {method: occlusion, reference: {x: 5}} # mine\n", 0.1, nil, []string{"explanation: {method: occlusion, reference: {x: 5}} # mine\n"}},
		{"JSON", `{"apiVersion": "pynomaly.io/v1", "kind": "Model", "id": "mine", "version": "1.0.0", "backend": "onnx", "artifact": "model.onnx", "description": "as I say", "features": [{"name": "x", "dtype": "float64"}]}`, 0.1, []string{"threshold: 178.2"}, []string{`"description": "as I say"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := Author{Store: modelstore.Store{Dir: t.TempDir()}, With: model.Backends{manifest.BackendONNX: &written{of: twice}}}
			at := writeOwn(t, a, c.text)
			if strings.Contains(c.text, "own.f64") {
				modeltest.Check(t, os.WriteFile(filepath.Join(at.Dir, at.Location.Dir, "own.f64"), make([]byte, 8), 0o600))
			}
			made, err := a.Calibrate(t.Context(), at, Training{File: train, Contamination: c.contamination})
			if err != nil {
				t.Fatal(err)
			}
			got := contentsOf(t, a.Store.Dir)
			for _, want := range append(c.want, c.keep...) {
				if !strings.Contains(got[manifest.FileName], want) && !strings.Contains(got[manifest.FileName], strings.Replace(want, "threshold", `"threshold"`, 1)) {
					t.Errorf("no %q in\n%s", want, got[manifest.FileName])
				}
			}
			if v, err := a.Verify(t.Context(), at); err != nil || v.Rows != "golden rows" || made.Rows != 100 || made.Flagged == 0 {
				t.Errorf("%+v, %+v, %v", v, made, err)
			}
			before := contentsOf(t, a.Store.Dir)
			if _, err := a.Calibrate(t.Context(), at, Training{File: train, Contamination: c.contamination}); err != nil {
				t.Fatal(err)
			}
			for name, data := range contentsOf(t, a.Store.Dir) {
				if before[name] != data {
					t.Errorf("a second time gives another %s:\n%s\nthan\n%s", name, data, before[name])
				}
			}
		})
	}
}

// TestCalibrateDropsRows checks that no row of the training rows is written if none is to
// be kept, and that golden rows that are there stay.
func TestCalibrateDropsRows(t *testing.T) {
	train := numbersFile(t, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
	for _, rows := range []string{"", `{"data": {"x": 3}, "score": 6}`} {
		a := Author{Store: modelstore.Store{Dir: t.TempDir()}, With: model.Backends{manifest.BackendONNX: &written{of: func(x float64, _, _ int) float64 { return 2 * x }}}}
		text := ownText
		if rows == "" {
			text = strings.Replace(text, "golden: {rows: checked.ndjson, tolerance: 0.001}\n", "", 1)
		}
		at := writeOwn(t, a, text)
		modeltest.Check(t, os.WriteFile(filepath.Join(at.Dir, at.Location.Dir, "checked.ndjson"), []byte(rows), 0o600))
		if _, err := a.Calibrate(t.Context(), at, Training{File: train, Contamination: 0.1, DropRows: true}); err != nil {
			t.Fatal(err)
		}
		got := contentsOf(t, a.Store.Dir)
		if _, kept := got[goldenFile]; kept || got["checked.ndjson"] != rows || strings.Contains(got[manifest.FileName], "explanation") {
			t.Errorf("rows are kept:\n%s\n%s", got[manifest.FileName], got["checked.ndjson"])
		}
		if stays := strings.Contains(got[manifest.FileName], "golden: {rows: checked.ndjson, tolerance: 0.001}\n"); stays != (rows != "") {
			t.Errorf("golden rows %q in\n%s", rows, got[manifest.FileName])
		}
	}
}

// TestCalibrateRefuses checks that a model stays as it was if it cannot be calibrated.
func TestCalibrateRefuses(t *testing.T) {
	opened := func(x float64, _, opened int) float64 { return x * float64(1+opened/3) } // another detector later on
	for _, c := range []struct {
		name, train, want string
		contamination     float64
		of                func(x float64, rows, opened int) float64
	}{
		{"hosts would refuse it", numbersFile(t, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), "stays as it was", 0.1, func(x float64, _, o int) float64 { return opened(x, 0, 3*o) }},
		{"too few rows", numbersFile(t, 1, 2, 3), "at least 10 are needed", 0.1, opened},
		{"another column", "", "x", 0.1, opened},
		{"contamination", numbersFile(t, 1, 2), "--contamination must be", 0.7, opened},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := Author{Store: modelstore.Store{Dir: t.TempDir()}, With: model.Backends{manifest.BackendONNX: &written{of: c.of}}}
			at := writeOwn(t, a, ownText)
			if c.train == "" {
				c.train = filepath.Join(t.TempDir(), "rows.csv")
				modeltest.Check(t, os.WriteFile(c.train, bytes.Repeat([]byte("y\n1\n"), 20), 0o600))
			}
			before := contentsOf(t, a.Store.Dir)
			if _, err := a.Calibrate(t.Context(), at, Training{File: c.train, Contamination: c.contamination}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			after := contentsOf(t, a.Store.Dir)
			if len(after) != len(before) {
				t.Errorf("%d files, before %d", len(after), len(before))
			}
			for name, data := range before {
				if after[name] != data {
					t.Errorf("%s has changed:\n%s", name, after[name])
				}
			}
		})
	}
	a := Author{Store: modelstore.Store{Dir: t.TempDir()}, With: model.Backends{}}
	bare := filepath.Join(a.Store.Dir, "bare.onnx")
	modeltest.Check(t, os.WriteFile(bare, []byte("graph"), 0o600))
	at, err := a.Store.FindOne(bare)
	modeltest.Check(t, err)
	if _, err := a.Calibrate(t.Context(), at, Training{File: "x.csv"}); err == nil || !strings.Contains(err.Error(), "write one with `model init`") {
		t.Errorf("%v", err)
	}
}

// TestCalibrateBackends calibrates modules and programs of the same detectors, of which
// some learn while they score. What follows is the same.
func TestCalibrateBackends(t *testing.T) {
	modules, programs := testkit.FittedModels(t), testkit.ProcessModels(t)
	a := Author{With: model.Backends{manifest.BackendWASM: testkit.WASM(t), manifest.BackendProcess: testkit.Processes(t, programs, nil)}}
	for _, r := range plugins.All() {
		var first map[string]string
		for _, dir := range []string{modules, programs} {
			a.Store.Dir = dir
			at, err := a.Store.Version("pima-"+r.Name, "")
			modeltest.Check(t, err)
			made, err := a.Calibrate(t.Context(), at, Training{File: testkit.Testdata("reference", "data", "pima-train.csv")})
			if err != nil {
				t.Fatalf("%s: %v", r.Name, err)
			}
			got := contentsOf(t, filepath.Join(at.Dir, at.Location.Dir))
			m, err := manifest.Decode([]byte(got[manifest.FileName]))
			modeltest.Check(t, err)
			if m.Threshold == nil || *m.Threshold != made.Threshold || m.Golden == nil || m.DriftBins == "" || m.Confidence == nil || m.Confidence.Contamination != DefaultContamination || m.Stateful != r.Stateful {
				t.Errorf("%s lacks something:\n%s", r.Name, got[manifest.FileName])
			}
			if first == nil {
				first = got
			}
			for _, name := range []string{goldenFile, trainScores, driftBins} {
				if got[name] == "" || got[name] != first[name] {
					t.Errorf("%s: %s differs between a module and a program", r.Name, name)
				}
			}
		}
	}
}

// TestCalibrateTies checks that many equal scores get mid-ranks, which is said, unless
// the model.yaml has a method.
func TestCalibrateTies(t *testing.T) {
	values := make([]float64, 100)
	for i := 93; i < 100; i++ {
		values[i] = float64(i)
	}
	train := numbersFile(t, values...)
	for text, want := range map[string]string{
		ownText: "calibration.method is ecdf_midrank, which predicts 0.465 for them (ecdf would predict 0.93)",
		ownText + "calibration: {method: ecdf, scores: checked.ndjson}\n": "calibration.method is ecdf, which predicts 0.93 for them (ecdf_midrank would predict 0.465)",
	} {
		a := Author{Store: modelstore.Store{Dir: t.TempDir()}, With: model.Backends{manifest.BackendONNX: &written{of: func(x float64, _, _ int) float64 { return x }}}}
		text = strings.Replace(text, "golden: {rows: checked.ndjson, tolerance: 0.001}\n", "", 1)
		made, err := a.Calibrate(t.Context(), writeOwn(t, a, text), Training{File: train, Contamination: 0.05})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(made.String(), "(5 %) are anomalies; 93 % of the rows score 0: "+want) {
			t.Errorf("%s", made)
		}
	}
}
