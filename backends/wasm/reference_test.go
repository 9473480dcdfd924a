package wasm_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/plugins"
	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/plugins/hbos"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestReferences checks that the reference detectors as modules, and the ECOD of
// each language's project template, give PyOD's scores and terms, row by row and in
// a batch.
func TestReferences(t *testing.T) {
	b := testkit.WASM(t)
	modules := map[string][]byte{}
	detector := map[string]string{}
	for _, r := range plugins.All() {
		if r.Explains {
			modules[r.Name], detector[r.Name] = testkit.Detector(t, r.Name), r.Name
		}
	}
	for _, language := range []string{"c", "rust", "assemblyscript"} {
		module, err := os.ReadFile(testkit.Testdata("models", "ecod-"+language, "1.0.0", "detector.wasm"))
		if err != nil {
			t.Fatal(err)
		}
		modules["ecod-"+language], detector["ecod-"+language] = module, "ecod"
	}
	modules["ecod-go"], detector["ecod-go"] = testkit.Template(t), "ecod"
	for name, module := range modules {
		for _, data := range []string{"cardio", "pima", "thyroid", "edge"} {
			t.Run(name+" "+data, func(t *testing.T) { checkReference(t, b.Open, module, detector[name], data) })
		}
	}
}

func checkReference(t *testing.T, open opener, module []byte, detector, data string) {
	t.Helper()
	var want struct {
		Rows []struct {
			Score float64
			Terms []float64
		}
	}
	text, err := os.ReadFile(testkit.Testdata("reference", detector+"-"+data+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	header, train := testkit.Training(t, data+"-train")
	_, test := testkit.Training(t, data+"-test")
	o := fit.DefaultOptions()
	o.Compat = hbos.CompatPyOD
	result, err := find(detector).Fit(train, o)
	if err != nil {
		t.Fatal(err)
	}
	features := "features:\n"
	for _, f := range header {
		features += "  - {name: " + f + ", dtype: float64}\n"
	}
	m := model(t, features)
	s, err := open(t.Context(), artifact(m, module, result.Files))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := sdk.NewBatch(m.SDKFeatures())
	in.Resize(test.Rows)
	copy(in.Float64s(), test.Values)
	width := 1 + test.Cols
	all, alone, terms := make([]float64, test.Rows), make([]float64, 1), make([]float64, test.Rows*width)
	if err := s.Score(t.Context(), in, all); err != nil {
		t.Fatal(err)
	}
	if err := s.(sdk.Explainer).Explain(t.Context(), in, terms); err != nil {
		t.Fatal(err)
	}
	near := func(got, want float64) bool { return got == want || math.Abs(got-want) <= 1e-9*math.Abs(want) }
	for i, row := range want.Rows {
		if err := s.Score(t.Context(), in.Slice(i, i+1), alone); err != nil {
			t.Fatal(err)
		}
		if alone[0] != all[i] || !near(all[i], row.Score) {
			t.Errorf("row %d: %v alone, %v in a batch, want %v", i, alone[0], all[i], row.Score)
		}
		for j, term := range append([]float64{0}, row.Terms...) {
			if got := terms[i*width+j]; !near(got, term) {
				t.Errorf("row %d, term %d: %v, want %v", i, j, got, term)
			}
		}
	}
}

func find(name string) plugins.Reference {
	for _, r := range plugins.All() {
		if r.Name == name {
			return r
		}
	}
	panic(name)
}

// FuzzFiles checks that a detector refuses a model's files or scores with them.
func FuzzFiles(f *testing.F) {
	module, err := os.ReadFile(testkit.Testdata("models", "ecod-c", "1.0.0", "detector.wasm"))
	if err != nil {
		f.Fatal(err)
	}
	b := testkit.WASM(f)
	m := model(f, xy)
	f.Add(make([]byte, 64))
	f.Add([]byte("seventeen bytes.."))
	f.Add(binary.LittleEndian.AppendUint64(make([]byte, 24), math.Float64bits(math.NaN())))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := b.Open(t.Context(), artifact(m, module, map[string][]byte{"train.f64": data}))
		if err != nil {
			return
		}
		defer s.Close()
		out := make([]float64, 1)
		if err := s.Score(t.Context(), rows(t, m, []float64{1, 2}), out); err != nil || math.IsNaN(out[0]) {
			t.Errorf("%v, %v", out, err)
		}
	})
}
