package onnx_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// described is a graph's entry in testdata/outputs, which testdata/make/outputs.py
// writes.
type described struct {
	Features []struct{ Name, DType, Input string }
	Output   struct {
		Name, Reconstruction string
		Column               *int
	}
	Rows   [][]any
	Scores []float64
}

func readDescribed(t *testing.T, file string) (d described) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// apply writes what the entry says into a manifest. The graph knows the types of
// features with an input, so they are left out.
func (d *described) apply(t *testing.T, m *manifest.Manifest) {
	t.Helper()
	m.Output = manifest.Output{Name: d.Output.Name, Reconstruction: d.Output.Reconstruction, Column: d.Output.Column}
	for _, f := range d.Features {
		dtype, err := sdk.ParseDType(f.DType)
		if err != nil {
			t.Fatal(err)
		}
		if f.Input != "" {
			dtype = 0
		}
		m.Features = append(m.Features, manifest.Feature{Feature: sdk.Feature{Name: f.Name, DType: dtype}, Input: f.Input})
	}
}

func (d *described) batch(t *testing.T, features []sdk.Feature) *sdk.Batch {
	t.Helper()
	b := sdk.NewBatch(features)
	b.Resize(len(d.Rows))
	for i, row := range d.Rows {
		for j, f := range features {
			v, err := manifest.Convert(row[j], f.DType)
			if err == nil {
				err = b.SetValue(i, j, v)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return b
}

// TestOutputs scores graphs with several values per row, and graphs whose inputs have
// other names than the features, in calls of several sizes. The expected scores are
// NumPy's, of what ONNX Runtime computes in Python.
func TestOutputs(t *testing.T) {
	state := t.TempDir()
	b := testkit.ONNX(t, state)
	files, err := filepath.Glob(testkit.Testdata("outputs", "*.json"))
	if err != nil || len(files) < 10 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			d := readDescribed(t, file)
			graph := strings.TrimSuffix(file, "json") + "onnx"
			for _, again := range []bool{false, true} { // the second time the proof is remembered
				s, err := open(t, b, graph, func(m *manifest.Manifest) { d.apply(t, m) })
				if err != nil {
					t.Fatal(err)
				}
				if again {
					b = testkit.ONNX(t, state)
				}
				batch := d.batch(t, s.Info().Features)
				for _, size := range []int{1, 3, len(d.Rows)} {
					for from := 0; from < len(d.Rows); from += size {
						to := min(from+size, len(d.Rows))
						out := make([]float64, to-from)
						if err := s.Score(t.Context(), batch.Slice(from, to), out); err != nil {
							t.Fatalf("rows %d to %d: %v", from, to, err)
						}
						for i, got := range out {
							if want := d.Scores[from+i]; math.Abs(got-want) > 1e-6*max(1, math.Abs(want)) {
								t.Errorf("row %d in calls of %d rows: %v, want %v", from+i, size, got, want)
							}
						}
					}
				}
			}
		})
	}
}

// TestOutputsAsked checks that graphs that need an entry in model.yaml are refused with
// the entry to write, and wrong entries with the reason.
func TestOutputsAsked(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	column := func(k int) *int { return &k }
	number := func(name, input string) manifest.Feature {
		return manifest.Feature{Feature: sdk.Feature{Name: name, DType: sdk.Float32}, Input: input}
	}
	for _, c := range []struct {
		file, want string
		change     func(*manifest.Manifest)
	}{
		{"classifier", "for each of the classes 0, 1: take the column whose values are higher for anomalies, by output: {name: probabilities, column: 1} in model.yaml, or --output probabilities --column 1 of model init, which take class 1", nil},
		{"classifier-zipmap", "classes 0, 1: its ZipMap is left out, as an export with zipmap=False does; take the column whose values are higher for anomalies, by output: {name: output_probability, column: 1}", nil},
		{"classifier-words", "by output: {name: output_probability, column: 2} in model.yaml, or --output output_probability --column 2 of model init, which take class good", nil},
		{"autoencoder", "output: {name: output, reconstruction: mse} in model.yaml, or --output output --reconstruction mse of model init", nil},
		{"autoencoder-mae", "--output output --reconstruction mse of model init", nil},
		{"autoencoder", "has the columns 0 to 3; output.column (--column) is 4", func(m *manifest.Manifest) { m.Output.Column = column(4) }},
		{"columns-undeclared", "has the columns 0 to 2; output.column (--column) is 3", func(m *manifest.Manifest) { m.Output.Column = column(3) }},
		{"classifier", "does not rebuild the row's 4 features", func(m *manifest.Manifest) { m.Output = manifest.Output{Name: "probabilities", Reconstruction: "mse"} }},
		{"classifier", "does not rebuild the row's 4 features", func(m *manifest.Manifest) { m.Output.Reconstruction = "mse" }},
		{"classifier-zipmap", "must be float or double", func(m *manifest.Manifest) { m.Output = manifest.Output{Name: "label", Column: column(0)} }},
		{"grouped-dense", "nothing says which column", func(m *manifest.Manifest) {
			m.Features = []manifest.Feature{number("c", "cat"), number("x", "num"), number("y", "num")}
			m.Output.Reconstruction = "mse"
			m.Output.Name = "score"
		}},
		{"grouped-dense", "cannot take 3 features", func(m *manifest.Manifest) {
			m.Features = []manifest.Feature{number("c", "cat"), number("x", "num"), number("y", "num"), number("z", "num")}
		}},
		{"grouped-dense", `"dog" is no input of the graph`, func(m *manifest.Manifest) {
			m.Features = []manifest.Feature{number("c", "dog"), number("x", "num"), number("y", "num")}
		}},
		{"grouped-dense", "features: [{name: age, input: input_0}]", func(m *manifest.Manifest) {
			m.Features = []manifest.Feature{number("num", ""), number("x", ""), number("y", "")}
		}},
		{"renamed", `feature "a" is float32 in the manifest; input input_1`, func(m *manifest.Manifest) {
			m.Features = []manifest.Feature{number("z", "input_0"), number("a", "input_1"), number("b", "input_2"), number("c", "input_3"), number("d", "input_4")}
		}},
		{"renamed", `feature "d" is float32 in the manifest; input input_4`, func(m *manifest.Manifest) { // all of them are said
			m.Features = []manifest.Feature{number("z", "input_0"), number("a", "input_1"), number("b", "input_2"), number("c", "input_3"), number("d", "input_4")}
		}},
		{"classifier", `feature "b" is float64 in the manifest; input float_input: tensor(float)[?,4] takes float32; the manifest names output "score"`, func(m *manifest.Manifest) {
			m.Features = []manifest.Feature{number("a", ""), {Feature: sdk.Feature{Name: "b", DType: sdk.Float64}}, number("c", ""), number("d", "")}
			m.Output.Name = "score"
		}},
		{"renamed", `has input "x", which the graph has not`, func(m *manifest.Manifest) {
			m.Features = []manifest.Feature{{Feature: sdk.Feature{Name: "a"}, Input: "x"}}
		}},
	} {
		_, err := open(t, b, testkit.Testdata("outputs", c.file+".onnx"), c.change)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.file, err, c.want)
		}
	}
}

// TestFlattened checks that the errors about a rebuilt row whose values are in one column
// say what to do, and that others do not mention it.
func TestFlattened(t *testing.T) {
	const want = "end the graph before the node that makes one column of it"
	for _, c := range []struct {
		features int
		shape    []int64
		want     bool
	}{{5, []int64{10, 1}, true}, {5, []int64{9, 1}, false}, {5, []int64{10}, false}, {5, []int64{2, 1}, false}, {1, []int64{2, 1}, false}} {
		if err := onnx.BindShape(c.features, c.shape, 2); c.want != (err != nil && strings.Contains(err.Error(), want)) {
			t.Errorf("%d features, %v: %v", c.features, c.shape, err)
		}
	}
	_, err := open(t, testkit.ONNX(t, t.TempDir()), testkit.Testdata("variants", "plain-sum.onnx"), func(m *manifest.Manifest) { m.Output.Reconstruction = "mse" })
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Error(err)
	}
}
