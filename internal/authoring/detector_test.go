package authoring

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
)

// training writes training rows with gaps, a column of texts, and labels.
func training(t *testing.T) string {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	b.WriteString("amount,age,colour,label\n")
	for i := range 300 {
		amount, colour, label := 100+10*r.NormFloat64(), []string{"red", "green", "blue"}[r.IntN(3)], 0
		if i%25 == 3 {
			amount, colour, label = amount+80, "violet", 1
		}
		age := fmt.Sprintf("%.1f", 40+5*r.NormFloat64())
		if i%50 == 7 {
			age = ""
		}
		if i == 11 {
			colour = ""
		}
		fmt.Fprintf(&b, "%.2f,%s,%s,%d\n", amount, age, colour, label)
	}
	file := filepath.Join(t.TempDir(), "train.csv")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func options(file string) FitOptions {
	o := DefaultFitOptions()
	o.ID, o.Version, o.File, o.Contamination = "m", "1.0.0", file, 0.04
	o.Exclude, o.Categorical, o.Missing, o.Graph.Scale = []string{"label"}, []string{"colour"}, MissingMedian, true
	return o
}

func TestFitGraphs(t *testing.T) {
	file := training(t)
	for _, name := range []string{"iforest", "knn", "lof"} {
		t.Run(name, func(t *testing.T) {
			a := author(t)
			d, err := FindDetector(name)
			if err != nil {
				t.Fatal(err)
			}
			made, err := a.Fit(t.Context(), d, options(file))
			if err != nil {
				t.Fatal(err)
			}
			if made.Rows != 300 || made.Features != 3 || made.Found.Flagged != 12 {
				t.Errorf("wrote %+v", made)
			}
			at, err := a.Store.FindOne(made.Dir)
			if err != nil {
				t.Fatal(err)
			}
			m, err := at.Open(t.Context(), a.With, batching.NewCalls(1))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			for j, want := range []string{"float32", "float32", "string"} {
				if f := m.Manifest.Features[j]; f.DType.String() != want || f.Missing.Policy != manifest.MissingIsValue {
					t.Errorf("feature %+v; want a %s with a value for missing ones", f, want)
				}
			}
			rows := m.Schema().NewDecoder()
			for _, row := range [][]string{{"100", "40", "red"}, {"", "", ""}, {"185", "40", "violet"}, {"100", "40", "a new one"}} {
				rows.Begin()
				for j, v := range row {
					rows.Text(j, v)
				}
				rows.End()
			}
			scores := make([]float64, 4)
			if bad, err := m.Predict(t.Context(), rows.Batch(), 0, scores); err != nil || len(bad) > 0 {
				t.Fatal(bad, err)
			}
			if threshold := *m.Manifest.Threshold; scores[0] > threshold || scores[1] > threshold {
				t.Errorf("ordinary rows score %v; the threshold is %v", scores[:2], threshold)
			}
			if name == "iforest" && scores[2] <= *m.Manifest.Threshold {
				t.Errorf("an outlier scores %v", scores)
			}
		})
	}
}

func TestFitRefuses(t *testing.T) {
	file := training(t)
	a := author(t)
	for want, c := range map[string]struct {
		name   string
		change func(*FitOptions)
	}{
		`feature "colour" is "green"; the feature is float32: give a number (columns of texts are named in --categorical`: {"iforest", func(o *FitOptions) { o.Categorical = nil }},
		`column "age": row 8 has no value: pass --missing mean, median or a number`:                                       {"lof", func(o *FitOptions) { o.Missing = MissingError }},
		`column "colour": row 12 has no text: pass --missing mean or median, with which the most common text`:             {"lof", func(o *FitOptions) { o.Missing = "3" }},
		`--missing is "often": it must be error, mean, median or a number`:                                                {"lof", func(o *FitOptions) { o.Missing = "often"; o.Categorical = nil; o.Exclude = append(o.Exclude, "colour") }},
		`hbos does not score NaN: pass --missing with a number`:                                                           {"hbos", func(o *FitOptions) { o.Categorical, o.Graph.Scale, o.Missing = nil, false, "nan" }},
		`no detector of model fit scores NaN: pass --missing mean, median or a number`:                                    {"lof", func(o *FitOptions) { o.Missing = "nan"; o.Categorical = nil; o.Exclude = append(o.Exclude, "colour") }},
		`--categorical names "size", which is no feature`:                                                                 {"knn", func(o *FitOptions) { o.Categorical = []string{"size"} }},
		`hbos computes no mean: pass --missing with a number; mean and median are for iforest, knn, lof`:                  {"hbos", func(o *FitOptions) { o.Categorical, o.Graph.Scale, o.Missing = nil, false, MissingMean }},
		`hbos takes numbers as they are: --categorical and --scale are for iforest, knn, lof`:                             {"hbos", func(*FitOptions) {}},
	} {
		o := options(file)
		c.change(&o)
		d, err := FindDetector(c.name)
		if err != nil {
			t.Fatal(err)
		}
		o.Detectors = t.TempDir()
		if c.name == "hbos" {
			if err := os.WriteFile(filepath.Join(o.Detectors, "hbos.wasm"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := a.Fit(t.Context(), d, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want %s", err, want)
		}
	}
}

// TestFitNeighbourTies checks that the scores without a row's own distance choose the
// method of calibration: to the graph, each training row is its own nearest neighbour.
func TestFitNeighbourTies(t *testing.T) {
	a := author(t)
	d, err := FindDetector("knn")
	if err != nil {
		t.Fatal(err)
	}
	o := DefaultFitOptions()
	var values []float64
	for i := range 40 {
		values = append(values, float64(i*i))
	}
	o.ID, o.Version, o.Training = "m", "1.0.0", Training{File: numbersFile(t, values...), Contamination: 0.1}
	o.Graph.Neighbours = 1
	made, err := a.Fit(t.Context(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Decode([]byte(contents(t, made.Dir)[manifest.FileName]))
	if err != nil {
		t.Fatal(err)
	}
	if m.Calibration.Method != manifest.CalibrateECDF || made.Found.share != 0 {
		t.Errorf("no two rows have the same score, and the method is %s; %s", m.Calibration.Method, made.Found)
	}
}

func TestCompareFits(t *testing.T) {
	var out strings.Builder
	if err := author(t).Compare(t.Context(), &out, []string{"iforest", "knn"}, "label", options(training(t))); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[1], "iforest   12 (4 %)  1.000 ") || !strings.HasPrefix(lines[2], "knn       12 (4 %)  ") || !strings.Contains(lines[0], "AUROC") {
		t.Errorf("printed:\n%s", out.String())
	}
}

// TestAUROC compares with the definition: DeLong's placements, pair by pair.
func TestAUROC(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	scores, truth := make([]float64, 200), make([]bool, 200)
	for i := range scores {
		truth[i] = i%7 == 0
		scores[i] = math.Round(4*r.NormFloat64()) / 4
		if truth[i] {
			scores[i]++
		}
	}
	win := func(a, b float64) float64 {
		switch {
		case a > b:
			return 1
		case a == b:
			return 0.5
		}
		return 0
	}
	var yes, no []float64
	for i, v := range scores {
		if truth[i] {
			yes = append(yes, v)
		} else {
			no = append(no, v)
		}
	}
	v10, v01 := make([]float64, len(yes)), make([]float64, len(no))
	for i, x := range yes {
		for j, y := range no {
			v10[i] += win(x, y) / float64(len(no))
			v01[j] += win(x, y) / float64(len(yes))
		}
	}
	want := mean(v10)
	half := 1.959963984540054 * math.Sqrt(variance(v10)/float64(len(yes))+variance(v01)/float64(len(no)))
	area, low, high := auroc(scores, truth)
	if math.Abs(area-want) > 1e-12 || math.Abs(low-(want-half)) > 1e-12 || math.Abs(high-(want+half)) > 1e-12 {
		t.Errorf("%v (%v to %v); want %v ± %v", area, low, high, want, half)
	}
}

// TestSpearman compares with scipy.stats.spearmanr.
func TestSpearman(t *testing.T) {
	if got := spearman([]float64{1, 2, 2, 4, 5}, []float64{2, 1, 3, 3, 9}); math.Abs(got-0.7631578947368421) > 1e-12 {
		t.Error(got)
	}
}

// TestFitNamedRefuses checks what is asked for beside the one detector.
func TestFitNamedRefuses(t *testing.T) {
	a, file := Author{}, training(t)
	for want, c := range map[string]struct {
		names  []string
		labels string
		id     string
	}{
		"--labels is for --compare: leave the column out of the features with --exclude label": {[]string{"iforest"}, "label", "m"},
		"0 detectors are named": {nil, "", "m"},
		"2 detectors are named": {[]string{"knn", "lof"}, "", "m"},
		"--id is missing":       {[]string{"knn"}, "", ""},
		"there is no detector":  {[]string{"svm"}, "", "m"},
	} {
		o := options(file)
		o.ID = c.id
		if err := a.FitNamed(t.Context(), io.Discard, c.names, c.labels, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
}
