package plugins_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/plugins"
	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/plugins/hbos"
	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

// reference holds PyOD's results for single rows.
type reference struct {
	Train, Test string
	Rows        []struct {
		Score float64
		Terms []float64
	}
}

func readReference(t *testing.T, detector, data string) (r reference, train, test fit.Data) {
	t.Helper()
	dir := filepath.Join("..", "testdata", "reference")
	text, err := os.ReadFile(filepath.Join(dir, detector+"-"+data+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r, readCSV(t, filepath.Join(dir, r.Train)), readCSV(t, filepath.Join(dir, r.Test))
}

func readCSV(t *testing.T, file string) fit.Data {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	d := fit.Data{Rows: len(all) - 1, Cols: len(all[0])}
	for _, record := range all[1:] {
		for _, cell := range record {
			v, err := strconv.ParseFloat(cell, 64)
			if err != nil {
				t.Fatal(err)
			}
			d.Values = append(d.Values, v)
		}
	}
	return d
}

func setup(result fit.Result, cols int) wasm.Setup {
	s := wasm.Setup{DType: "float64", Files: result.Files}
	for j := range cols {
		s.Features = append(s.Features, wasm.Feature{Name: fmt.Sprint("f", j), DType: "float64"})
	}
	return s
}

func agree(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Abs(b) || a == b }

// TestReferences checks that scores and terms equal PyOD's, row by row and in a
// batch.
func TestReferences(t *testing.T) {
	for _, detector := range plugins.All() {
		if !detector.Explains {
			continue
		}
		for _, data := range []string{"cardio", "pima", "thyroid", "edge"} {
			t.Run(detector.Name+"-"+data, func(t *testing.T) {
				want, train, test := readReference(t, detector.Name, data)
				o := fit.DefaultOptions()
				o.Compat = hbos.CompatPyOD
				fitted, err := detector.Fit(train, o)
				if err != nil {
					t.Fatal(err)
				}
				s, err := wasm.NewScorer(detector.New(), setup(fitted, train.Cols))
				if err != nil {
					t.Fatal(err)
				}
				in := sdk.NewBatch(s.Info().Features)
				in.Resize(test.Rows)
				copy(in.Float64s(), test.Values)
				scores, terms := make([]float64, test.Rows), make([]float64, test.Rows*(1+test.Cols))
				if err := s.Score(t.Context(), in, scores); err != nil {
					t.Fatal(err)
				}
				if err := s.(sdk.Explainer).Explain(t.Context(), in, terms); err != nil {
					t.Fatal(err)
				}
				alone := make([]float64, 1)
				for i, row := range want.Rows {
					if err := s.Score(t.Context(), in.Slice(i, i+1), alone); err != nil || alone[0] != scores[i] {
						t.Fatalf("row %d alone: %v, %v in a batch, %v", i, alone[0], scores[i], err)
					}
					if !agree(scores[i], row.Score) {
						t.Errorf("row %d scored %v, want %v", i, scores[i], row.Score)
					}
					if at := i * (1 + test.Cols); terms[at] != 0 {
						t.Errorf("row %d: base value %v", i, terms[at])
					}
					for j, term := range row.Terms {
						if got := terms[i*(1+test.Cols)+1+j]; !agree(got, term) {
							t.Errorf("row %d, feature %d: %v, want %v", i, j, got, term)
						}
					}
				}
			})
		}
	}
}

// TestUnfit checks that invalid training rows and files are refused.
func TestUnfit(t *testing.T) {
	o := fit.DefaultOptions()
	for _, detector := range plugins.All() {
		for name, d := range map[string]fit.Data{
			"no rows": {Cols: 2}, "one row": {Rows: 1, Cols: 1, Values: []float64{1}}, "ragged": {Rows: 2, Cols: 2, Values: []float64{1}},
			"NaN": {Rows: 2, Cols: 1, Values: []float64{1, math.NaN()}}, "infinite": {Rows: 2, Cols: 1, Values: []float64{1, math.Inf(1)}},
		} {
			if _, err := detector.Fit(d, o); err == nil {
				t.Errorf("%s: %s was accepted", detector.Name, name)
			}
		}
		for name, files := range map[string]map[string][]byte{
			"no files": nil, "empty": {"train.f64": {}, "histograms.json": {}, "half_space_trees.json": {}},
			"nonsense": {"train.f64": []byte("seventeen bytes.."), "histograms.json": []byte("{}"), "half_space_trees.json": []byte(`{"limits":[[0,0],[0,0]]}`)},
		} {
			if _, err := wasm.NewScorer(detector.New(), setup(fit.Result{Files: files}, 2)); err == nil {
				t.Errorf("%s: %s was accepted", detector.Name, name)
			}
		}
	}
}

// TestMissingValues checks that NaN makes only its own row's score NaN.
func TestMissingValues(t *testing.T) {
	train := fit.Data{Rows: 4, Cols: 2, Values: []float64{1, 2, 3, 4, 5, 7, 8, 8}}
	for _, detector := range plugins.All() {
		if detector.Stateful {
			continue
		}
		fitted, err := detector.Fit(train, fit.DefaultOptions())
		if err != nil {
			t.Fatal(err)
		}
		s, err := wasm.NewScorer(detector.New(), setup(fitted, 2))
		if err != nil {
			t.Fatal(err)
		}
		in := sdk.NewBatch(s.Info().Features)
		in.Resize(3)
		copy(in.Float64s(), []float64{1, 2, math.NaN(), 2, math.Inf(1), math.Inf(-1)})
		out := make([]float64, 3)
		if err := s.Score(t.Context(), in, out); err != nil || math.IsNaN(out[0]) || !math.IsNaN(out[1]) || math.IsInf(out[2], 0) || math.IsNaN(out[2]) {
			t.Errorf("%s: %v, %v", detector.Name, out, err)
		}
	}
}

func ExampleAll() {
	train := fit.Data{Rows: 5, Cols: 1, Values: []float64{1, 2, 2, 3, 10}}
	for _, detector := range plugins.All() {
		if detector.Name != "ecod" {
			continue
		}
		fitted, err := detector.Fit(train, fit.DefaultOptions())
		if err != nil {
			panic(err)
		}
		scores, err := wasm.Run(detector.New(), wasm.Setup{Features: []wasm.Feature{{Name: "x"}}, Files: fitted.Files}, [][]float64{{2}, {11}})
		if err != nil {
			panic(err)
		}
		fmt.Printf("%.3f\n", scores)
	}
	// Output: [0.405 1.792]
}
