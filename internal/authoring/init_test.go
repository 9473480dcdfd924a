package authoring

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// described is the entry of a graph in testdata/outputs.
type described struct {
	Features []struct{ Name, DType, Input string }
	Rows     [][]json.RawMessage
	Scores   []float64
}

func readDescribed(t *testing.T, name string) (d described) {
	t.Helper()
	data, err := os.ReadFile(testkit.Testdata("outputs", name+".json"))
	if err == nil {
		err = json.Unmarshal(data, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// train writes the rows under a header, with the same values in columns beyond those
// that the graph takes. cells that gaps names are empty.
func (d *described) train(t *testing.T, header string, gaps ...[2]int) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "train.csv")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := csv.NewWriter(f)
	names := strings.Split(header, ",")
	if header == "" {
		names = nil
		for _, f := range d.Features {
			names = append(names, f.Name)
		}
	}
	_ = w.Write(names)
	for i, row := range d.Rows {
		fields := make([]string, len(names))
		for j := range names {
			fields[j] = "0"
			if j < len(row) {
				fields[j] = strings.Trim(string(row[j]), `"`)
			}
			if slices.Contains(gaps, [2]int{i, j}) {
				fields[j] = ""
			}
		}
		_ = w.Write(fields)
	}
	w.Flush()
	return file
}

func author(t *testing.T) Author {
	t.Helper()
	return Author{Store: modelstore.Store{Dir: t.TempDir()}, With: testkit.Backends(t, testkit.Proofs())}
}

func column(k int) *int { return &k }

// initialise runs Init for a graph of testdata/outputs, and returns the manifest.
func initialise(t *testing.T, a Author, name string, o InitOptions) (*Initialised, *manifest.Manifest, error) {
	t.Helper()
	o.Contamination = 0.2
	made, err := a.Init(t.Context(), testkit.Testdata("outputs", name+".onnx"), o)
	if err != nil {
		return nil, nil, err
	}
	text, err := os.ReadFile(filepath.Join(made.Dir, manifest.FileName))
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Decode(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return made, m, nil
}

// TestInitAsks checks that Init names the flag that a graph or a file needs.
func TestInitAsks(t *testing.T) {
	a := author(t)
	read := func(name, header string, gaps ...[2]int) string {
		d := readDescribed(t, name)
		return d.train(t, header, gaps...)
	}
	for _, c := range []struct {
		graph string
		o     InitOptions
		file  string
		want  string
	}{
		{"classifier", InitOptions{}, "", "--output probabilities --column 1 of model init"},
		{"classifier", InitOptions{Column: column(2)}, "", "has the columns 0 to 1"},
		{"classifier", InitOptions{Column: column(1), Reconstruction: "mse"}, "", "leave out --column"},
		{"classifier", InitOptions{Reconstruction: "rmse"}, "", "--reconstruction is"},
		{"autoencoder", InitOptions{}, "", "--output output --reconstruction mse of model init"},
		{"tree", InitOptions{}, "", "state --orientation higher_is_anomalous or higher_is_normal"},
		{"classifier", InitOptions{Column: column(1)}, read("classifier", "a,b,c,d,label"), "train.csv has 5 columns (a, b, c, d, label) and the graph takes 4 features without names: leave columns out with --exclude, or name the features in the order of the graph with --features a,b,c,d"},
		{"classifier", InitOptions{Column: column(1)}, read("classifier", "a,,c,d"), "the name of column 2"},
		{"classifier", InitOptions{Column: column(1), Features: []string{"a", "b"}}, "", "--features names 2 features; the graph takes 4: f0, f1, f2, f3"},
		{"classifier", InitOptions{Column: column(1), Features: []string{"a", "b", "a", "c"}}, "", `feature 3, "a", is empty or taken`},
		{"classifier", InitOptions{Column: column(1), Training: Training{Exclude: []string{"x"}}}, read("classifier", "a,b,c,d"), `--exclude names "x"`},
		{"renamed", InitOptions{Orientation: "higher_is_anomalous"}, read("renamed", ""), "the graph has the inputs input_0, input_1, input_2, input_3, input_4, and"},
		{"tree", InitOptions{Orientation: "higher_is_anomalous"}, read("tree", "", [2]int{1, 2}, [2]int{3, 0}, [2]int{3, 1}), `row 2: feature "visits" is missing, and 2 of 16 rows have such gaps: the model scores them if what is missing is NaN, so pass --missing nan; or pass --missing VALUE`},
		{"autoencoder", InitOptions{Reconstruction: "mae"}, read("autoencoder", "", [2]int{1, 2}), "the model does not score rows with NaN; pass --missing VALUE"},
		{"autoencoder", InitOptions{Reconstruction: "mae", Training: Training{Missing: "nan"}}, read("autoencoder", "", [2]int{1, 2}), "pass --missing VALUE instead of nan"},
		{"renamed", InitOptions{Orientation: "higher_is_anomalous", Training: Training{Missing: "many"}, Features: []string{"input_0", "b", "c", "d", "e"}}, "", ""},
		{"tree", InitOptions{Orientation: "higher_is_anomalous", Training: Training{Missing: "many"}}, "", "--missing many suits none of the features: they are float32; give nan or a number"},
	} {
		c.o.File, c.o.ID = c.file, strings.ReplaceAll(c.graph, "-", "_")
		_, _, err := initialise(t, a, c.graph, c.o)
		if c.want == "" && err == nil {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.graph, err, c.want)
		}
	}
}

// TestInitWrites checks what Init writes of features, output and training rows. The
// training scores are compared with those of Python.
func TestInitWrites(t *testing.T) {
	for _, c := range []struct {
		name, graph string
		o           InitOptions
		header      string // of the training rows; empty: the features' names
		gaps        [][2]int
		features    string
		output      string
		note        string
	}{
		{"columns of the file", "classifier", InitOptions{Column: column(1)}, "", nil, "amount age visits ratio", "probabilities 1 false",
			"features: amount, age, visits, ratio, the columns of"},
		{"without a label", "classifier-zipmap", InitOptions{Column: column(1), Training: Training{Exclude: []string{"label"}}}, "a,b,c,d,label", nil, "a b c d", "output_probability 1 false", "higher scores are more anomalous"},
		{"names of the graph", "classifier-first", InitOptions{Column: column(0), Orientation: "higher_is_normal"}, "f0,f1,f2,f3,f4", nil, "f0 f1 f2 f3", "probabilities 0 true", "kept of the training rows"},
		{"names of a flag", "classifier-words", InitOptions{Column: column(0), Features: []string{"d", "c", "b", "a"}}, "d,c,b,a,e", nil, "d c b a", "output_probability 0 false", "column 0"},
		{"a rebuilt row", "autoencoder", InitOptions{Reconstruction: "mse"}, "", nil, "amount age visits ratio", "output mse false", "score: the mse of the rebuilt row"},
		{"undeclared columns", "autoencoder-mae", InitOptions{Reconstruction: "mae"}, "", nil, "amount age visits ratio", "output mae false", ""},
		{"gaps", "tree", InitOptions{Orientation: "higher_is_anomalous", Training: Training{Missing: "nan"}}, "", [][2]int{{0, 3}, {4, 3}}, "amount/nan age/nan visits/nan ratio/nan", "variable false", ""},
		{"filled gaps", "tree", InitOptions{Orientation: "higher_is_anomalous", Training: Training{Missing: "-1.5"}}, "", [][2]int{{0, 3}, {4, 3}}, "amount/-1.5 age/-1.5 visits/-1.5 ratio/-1.5", "variable false", ""},
		{"inputs of other names", "renamed", InitOptions{Orientation: "higher_is_anomalous", Features: []string{"sepal length (cm)", "amount.eur", "count", "member?", "Zahlungsart"}}, "", nil,
			"sepal length (cm)<input_0 amount.eur<input_1 count<input_2 member?<input_3 Zahlungsart<input_4", "score false", ""},
		{"inputs of several columns", "grouped-dense", InitOptions{Orientation: "higher_is_anomalous", Features: []string{"x", "y", "cat"}}, "", nil, "x<num y<num cat", "score false", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := readDescribed(t, c.graph)
			c.o.File = d.train(t, c.header, c.gaps...)
			made, m, err := initialise(t, author(t), c.graph, c.o)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(m.Features); got != c.features {
				t.Errorf("features %s, want %s", got, c.features)
			}
			out := m.Output.Name
			if m.Output.Column != nil {
				out += fmt.Sprint(" ", *m.Output.Column)
			}
			if m.Output.Reconstruction != "" {
				out += " " + m.Output.Reconstruction
			}
			if out += fmt.Sprint(" ", m.Output.HigherIsNormal); out != c.output {
				t.Errorf("output %s, want %s", out, c.output)
			}
			if notes := strings.Join(made.Notes, "\n"); !strings.Contains(notes, c.note) {
				t.Errorf("notes %s, want %q", notes, c.note)
			}
			scores := slices.Clone(d.Scores)
			for i := range scores {
				scores[i] *= m.Output.Sign()
			}
			slices.Sort(scores)
			if want := percentile(scores, 0.8); math.Abs(*m.Threshold-want) > 1e-6*max(1, math.Abs(want)) {
				t.Errorf("threshold %v, want %v", *m.Threshold, want)
			}
			if m.Golden == nil || m.Calibration == nil || m.Explanation == nil {
				t.Errorf("something is missing: %+v", m)
			}
		})
	}
}

// show formats features as name/missing<input.
func show(features []manifest.Feature) string {
	var all []string
	for _, f := range features {
		text := f.Name
		switch f.Missing.Policy {
		case manifest.MissingIsNaN:
			text += "/nan"
		case manifest.MissingIsValue:
			text += fmt.Sprint("/", f.Missing.Value)
		case manifest.MissingIsError:
		}
		if f.Input != "" {
			text += "<" + f.Input
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

// TestInitKeepsNoRows checks that nothing in the model's directory is a training row.
func TestInitKeepsNoRows(t *testing.T) {
	d := readDescribed(t, "autoencoder")
	o := InitOptions{Reconstruction: "mse", Training: Training{DropRows: true, File: d.train(t, "")}}
	made, m, err := initialise(t, author(t), "autoencoder", o)
	if err != nil {
		t.Fatal(err)
	}
	if m.Golden != nil || m.Explanation != nil || m.Threshold == nil || m.Calibration == nil || m.DriftBins == "" {
		t.Errorf("%+v", m)
	}
	files, err := os.ReadDir(made.Dir)
	if err != nil || len(files) != 4 { // model.yaml, model.onnx, scores and bins
		t.Errorf("%v, %v", files, err)
	}
	if !strings.Contains(strings.Join(made.Notes, "\n"), "no row, so there are no golden rows") {
		t.Errorf("%q", made.Notes)
	}
}

func TestMangled(t *testing.T) {
	features := func(names ...string) (out []manifest.Feature) {
		for _, n := range names {
			out = append(out, manifest.Feature{Feature: sdk.Feature{Name: n, DType: sdk.Float32}})
		}
		return out
	}
	for _, c := range []struct{ inputs, header, want []string }{
		{[]string{"sepal_length__cm_", "count"}, []string{"count", "label", "sepal length (cm)"}, []string{"sepal length (cm)", "count"}},
		{[]string{"a_b", "count"}, []string{"a b", "a.b", "count"}, nil},
		{[]string{"a_b", "count"}, []string{"a b"}, nil},
	} {
		if got := mangled(c.header, features(c.inputs...)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q of %q: %q, want %q", c.inputs, c.header, got, c.want)
		}
	}
}

func TestSetMissing(t *testing.T) {
	for text, want := range map[string]string{
		"": "f d i s b", "error": "f d i s b", "nan": "f/nan d/nan i s b", "2": "f/2 d/2 i/2 s b", "2.5": "f/2.5 d/2.5 i s b", "none": "f d i s/none b", "true": "f d i s/true b/true",
	} {
		var features []manifest.Feature
		for j, name := range []string{"f", "d", "i", "s", "b"} {
			features = append(features, manifest.Feature{Feature: sdk.Feature{Name: name, DType: []sdk.DType{sdk.Float32, sdk.Float64, sdk.Int64, sdk.String, sdk.Bool}[j]}})
		}
		if err := setMissing(features, text, nil); err != nil || show(features) != want {
			t.Errorf("%q: %s, %v; want %s", text, show(features), err, want)
		}
	}
}
