package authoring

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// begin writes a directory with a graph of testdata/outputs and a manifest, and returns
// it.
func begin(t *testing.T, a Author, graph, text string) string {
	t.Helper()
	dir := filepath.Join(a.Store.Dir, "mine", "2.0.0")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	testkit.CopyFile(t, testkit.Testdata("outputs", graph+".onnx"), filepath.Join(dir, "net.onnx"))
	if err := os.WriteFile(filepath.Join(dir, manifest.FileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// contents returns the files of a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(data)
	}
	return all
}

// TestComplete checks that Init keeps what a manifest says, comments included, adds what
// is missing, and says what that is.
func TestComplete(t *testing.T) {
	for _, c := range []struct {
		name, graph, text string
		o                 InitOptions
		train             bool
		added             string
		keeps             []string // of the text
		files             string
	}{
		{"empty", "autoencoder", "", InitOptions{Reconstruction: "mse"}, true,
			"apiVersion kind id version artifact digest files features output threshold calibration confidence explanation drift golden",
			nil, "drift.yaml golden.ndjson model.yaml net.onnx train_scores.f64"},
		{"without rows", "classifier", "# ours\nartifact: net.onnx # from LightGBM\noutput:\n  column: 1 # fraud\n", InitOptions{}, false,
			"apiVersion kind id version digest features output.name output.orientation",
			[]string{"# ours\n", "artifact: net.onnx # from LightGBM\n", "  column: 1 # fraud\n"}, "model.yaml net.onnx"},
		{"features and threshold", "tree", "id: mine\nfeatures:\n  - {name: w, dtype: float32, missing: 7}\n  - {name: x, dtype: float32}\n  - {name: y, dtype: float32}\n  - {name: z, dtype: float32}\n" +
			"output: {orientation: higher_is_anomalous}\nthreshold: 2.5\nmetadata: {team: risk}\n", InitOptions{Training: Training{Missing: "nan"}}, true,
			"apiVersion kind version artifact features[1].missing features[2].missing features[3].missing output.name digest files calibration confidence explanation drift golden",
			[]string{"{name: w, dtype: float32, missing: 7}", "threshold: 2.5\n", "metadata: {team: risk}\n"}, "drift.yaml golden.ndjson model.yaml net.onnx train_scores.f64"},
		{"calibration", "autoencoder", "output: {reconstruction: mse}\ncalibration: {method: linear, min: 0, max: 9}\n", InitOptions{}, true,
			"apiVersion kind id version artifact output.name output.orientation digest files features threshold explanation drift golden",
			[]string{"calibration: {method: linear, min: 0, max: 9}\n"}, "drift.yaml golden.ndjson model.yaml net.onnx"},
		{"inputs", "renamed", "features:\n  - {name: Zahlungsart, input: input_4}\n  - {name: 'member?', input: input_3}\n  - {name: count, input: input_2}\n  - {name: amount.eur, input: input_1}\n  - {name: sepal length (cm), input: input_0}\n",
			InitOptions{Orientation: "higher_is_anomalous"}, true,
			"apiVersion kind id version artifact features[0].dtype features[1].dtype features[2].dtype features[3].dtype features[4].dtype digest files output threshold calibration confidence explanation drift golden",
			nil, "drift.yaml golden.ndjson model.yaml net.onnx train_scores.f64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, d := author(t), readDescribed(t, c.graph)
			dir := begin(t, a, c.graph, c.text)
			c.o.Contamination = 0.2
			if c.train {
				header := ""
				if c.graph == "tree" {
					header = "w,x,y,z"
				}
				c.o.File = d.train(t, header)
			}
			made, err := a.Init(t.Context(), dir, c.o)
			if err != nil {
				t.Fatal(err)
			}
			all := contents(t, dir)
			want := strings.Fields(c.added)
			slices.Sort(want)
			if got := slices.Sorted(slices.Values(made.Added)); !slices.Equal(got, want) {
				t.Errorf("added\n%q, want\n%q", got, want)
			}
			for _, part := range c.keeps {
				if !strings.Contains(all[manifest.FileName], part) {
					t.Errorf("%q is gone from\n%s", part, all[manifest.FileName])
				}
			}
			if got := strings.Join(slices.Sorted(maps.Keys(all)), " "); got != c.files {
				t.Errorf("files %s, want %s", got, c.files)
			}
			m, err := manifest.Decode([]byte(all[manifest.FileName]))
			if err != nil || m.ID != "mine" || m.Version != "2.0.0" {
				t.Errorf("%v in\n%s", err, all[manifest.FileName])
			}
			// What is complete stays as it is, byte by byte.
			before := contents(t, dir)
			defer func() {
				if c.train && !maps.Equal(before, contents(t, dir)) {
					t.Error("a complete manifest was written anew")
				}
			}()
			if again, err := a.Init(t.Context(), dir, InitOptions{Training: Training{Contamination: 0.2, File: c.o.File}}); err != nil || !slices.Equal(again.Added, []string{"nothing, it is complete"}) && c.train {
				t.Errorf("again: %+v, %v", again, err)
			}
			if entries, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(entries) != 1 {
				t.Errorf("something is left beside the directory: %v, %v", entries, err)
			}
		})
	}
}

// TestCompleteTies checks that Init says what the method of calibration that a manifest
// states makes of equal scores.
func TestCompleteTies(t *testing.T) {
	a := author(t)
	dir := begin(t, a, "autoencoder", "output: {reconstruction: mse}\ncalibration: {method: ecdf, scores: s.f64}\n")
	if err := os.WriteFile(filepath.Join(dir, "s.f64"), encodeScores([]float64{1, 2, 3}), 0o600); err != nil {
		t.Fatal(err)
	}
	_, m, err := initialise(t, a, "autoencoder", InitOptions{ID: "names", Reconstruction: "mse"})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for i, f := range m.Features {
		fmt.Fprintf(&text, "%s%s", []string{"", ","}[min(i, 1)], f.Name)
	}
	row := strings.TrimSuffix(strings.Repeat("1,", len(m.Features)), ",")
	text.WriteString("\n" + strings.Repeat(row+"\n", 20))
	file := filepath.Join(t.TempDir(), "train.csv")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	made, err := a.Init(t.Context(), dir, InitOptions{Training: Training{Contamination: 0.2, File: file}})
	if err != nil {
		t.Fatal(err)
	}
	if got := made.Found.String(); !strings.Contains(got, "calibration.method is ecdf,") {
		t.Errorf("model.yaml states ecdf, and Init says: %s", got)
	}
}

// TestCompleteRefuses checks that a manifest that cannot be completed is left as it is.
func TestCompleteRefuses(t *testing.T) {
	d := readDescribed(t, "classifier")
	for _, c := range []struct {
		name, text, want string
		o                InitOptions
		prepare          func(dir string)
	}{
		{"column", "", "--column 1", InitOptions{}, nil},
		{"a contradiction", "output: {column: 1}\n", "states output.column: leave out --column", InitOptions{Column: column(0)}, nil},
		{"another id", "id: other\n", "says id: other, and --id is mine", InitOptions{ID: "mine"}, nil},
		{"features", "features: [{name: a, dtype: float32}]\n", "lists features: leave out --features", InitOptions{Features: []string{"b"}}, nil},
		{"too few features", "features: [{name: a, dtype: float32}]\noutput: {column: 1}\n", "the manifest has 1 features; input float_input", InitOptions{}, nil},
		{"misspelt", "outptu: {column: 1}\nthreshold: high\n", `did you mean "output"?; line 2: threshold: must be a finite number`, InitOptions{}, nil},
		{"no object", "- a\n", "must be an object", InitOptions{}, nil},
		{"no YAML", "a: [\n", "reading YAML", InitOptions{}, nil},
		{"several artifacts", "", "holds 2 files .onnx or .wasm: name one as artifact", InitOptions{}, func(dir string) {
			testkit.CopyFile(t, testkit.Testdata("outputs", "tree.onnx"), filepath.Join(dir, "other.onnx"))
		}},
		{"a file of the name", "output: {column: 1}\n", "has a file golden.ndjson already", InitOptions{Training: Training{File: d.train(t, "")}}, func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, goldenFile), []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"wrong golden rows", "output: {column: 1}\ngolden: {rows: g.ndjson}\n", "golden row 0 scored", InitOptions{}, func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, "g.ndjson"), []byte(`{"data": {"f0": 1, "f1": 1, "f2": 1, "f3": 1}, "score": 5}`), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := author(t)
			dir := begin(t, a, "classifier", c.text)
			if c.prepare != nil {
				c.prepare(dir)
			}
			before := contents(t, dir)
			c.o.Contamination = 0.2
			_, err := a.Init(t.Context(), dir, c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if !maps.Equal(before, contents(t, dir)) {
				t.Error("the directory has changed")
			}
			if entries, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(entries) != 1 {
				t.Errorf("something is left beside the directory: %v, %v", entries, err)
			}
		})
	}
}
