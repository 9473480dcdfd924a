package detectors_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/detectors"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// reference is what scikit-learn and PyOD say of a data set.
type reference struct {
	Train, Rows [][]float32
	Labels      []int
	Scores      map[string]struct{ Train, Scores []float64 }
	Areas       []float64 // AUROC of isolation forests
}

func read(t *testing.T, name string) *reference {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var r reference
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func rowsOf(v [][]float32) detectors.Rows {
	return detectors.Rows{Features: len(v[0]), Values: slices.Concat(v...)}
}

// score scores rows with ONNX Runtime.
func score(t *testing.T, graph []byte, rows [][]float32) []float64 {
	t.Helper()
	b := testkit.ONNX(t, t.TempDir())
	m := manifest.Defaults()
	m.ID, m.Derived = "m", true
	m.Limits.LoadTimeout = 10 * time.Minute // ends only a graph that hangs
	d, err := b.Inspect(t.Context(), backends.Artifact{Manifest: m, Bytes: graph})
	if err != nil {
		t.Fatal(err)
	}
	m = m.With(d)
	batch := sdk.NewBatch(m.SDKFeatures())
	batch.Resize(len(rows))
	copy(batch.Float32s(), slices.Concat(rows...))
	s, err := b.Open(t.Context(), backends.Artifact{Manifest: m, Bytes: graph, ProbeRows: batch})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out := make([]float64, len(rows))
	if err := s.Score(t.Context(), batch, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAsElsewhere compares neighbours with scikit-learn's and PyOD's scores.
func TestAsElsewhere(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"cardio", "mammography", "pima", "thyroid"} {
		ref := read(t, name)
		for what, want := range ref.Scores {
			t.Run(name+"/"+strings.ReplaceAll(what, ", ", "_"), func(t *testing.T) {
				o := detectors.Defaults()
				kind, how, _ := strings.Cut(what, ", ")
				fit := detectors.LOF
				if o.Scale = how == "scaled"; kind == "knn" {
					fit, o.Distance = detectors.KNN, how
				}
				f, err := fit(rowsOf(ref.Train), o)
				if err != nil {
					t.Fatal(err)
				}
				worst := 1e-6
				if o.Scale {
					worst = 2e-6 // the graph rounds scaled features to float32, and scikit-learn does not
				}
				near(t, "training row", f.Scores, want.Train, worst)
				near(t, "row", score(t, f.Graph, ref.Rows), want.Scores, worst)
			})
		}
	}
}

func near(t *testing.T, what string, got, want []float64, worst float64) {
	t.Helper()
	for i := range want {
		if d := math.Abs(got[i] - want[i]); d > worst*max(1, math.Abs(want[i])) {
			t.Errorf("%s %d scores %v; want %v (off by %.2g)", what, i, got[i], want[i], d)
		}
	}
}

// TestForestsRankAsElsewhere compares the area under the ROC curve, over as many seeds.
func TestForestsRankAsElsewhere(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"cardio", "mammography", "pima", "thyroid"} {
		ref := read(t, name)
		var ours []float64
		for seed := range uint64(len(ref.Areas)) {
			o := detectors.Defaults()
			o.Seed = seed
			f, err := detectors.IsolationForest(rowsOf(ref.Train), o)
			if err != nil {
				t.Fatal(err)
			}
			ours = append(ours, area(score(t, f.Graph, ref.Rows), ref.Labels))
		}
		m1, s1 := moments(ours)
		m2, s2 := moments(ref.Areas)
		// Five standard errors of the difference of the means.
		if math.Abs(m1-m2) > 5*math.Sqrt((s1*s1+s2*s2)/float64(len(ours))) || s1 > 2.5*s2 || s2 > 2.5*s1 {
			t.Errorf("%s: AUROC %.4f (deviation %.4f over seeds); scikit-learn has %.4f (%.4f)", name, m1, s1, m2, s2)
		}
	}
}

// area returns the AUROC.
func area(scores []float64, labels []int) float64 {
	var wins, pairs float64
	for i, a := range scores {
		for j, b := range scores {
			if labels[i] == 1 && labels[j] == 0 {
				pairs++
				switch {
				case a > b:
					wins++
				case a == b:
					wins += 0.5
				}
			}
		}
	}
	return wins / pairs
}

func moments(v []float64) (mean, deviation float64) {
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for _, x := range v {
		deviation += (x - mean) * (x - mean) / float64(len(v)-1)
	}
	return mean, math.Sqrt(deviation)
}

func TestSeedsRepeat(t *testing.T) {
	t.Parallel()
	train := rowsOf(read(t, "pima").Train)
	fit := func(seed uint64) string {
		o := detectors.Defaults()
		o.Seed = seed
		f, err := detectors.IsolationForest(train, o)
		if err != nil {
			t.Fatal(err)
		}
		return string(f.Graph)
	}
	one, again := fit(1), fit(1)
	if one != again {
		t.Error("one seed gives two forests")
	}
	if one == fit(2) {
		t.Error("two seeds give one forest")
	}
}

// TestEqualRows fits rows that are all equal, or so but for one.
func TestEqualRows(t *testing.T) {
	t.Parallel()
	rows := detectors.Rows{Features: 2, Values: make([]float32, 2*50)}
	rows.Values[0] = 9
	for _, d := range detectors.All() {
		o := detectors.Defaults()
		o.Scale = true
		f, err := d.Fit(rows, o)
		if err != nil {
			t.Fatalf("%s: %v", d.Name, err)
		}
		got := score(t, f.Graph, [][]float32{{0, 0}, {9, 0}, {100, 0}})
		for i, v := range got {
			if math.IsNaN(v) || math.IsInf(v, 0) || (i > 0 && v < got[i-1]) {
				t.Errorf("%s scores %v", d.Name, got)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	good := detectors.Rows{Features: 1, Values: []float32{1, 2, 3}}
	for want, c := range map[string]struct {
		fit  func(detectors.Rows, detectors.Options) (*detectors.Fitted, error)
		rows detectors.Rows
		o    detectors.Options
	}{
		"--trees is 0: it must be between 1 and 10000":         {detectors.IsolationForest, good, detectors.Options{}},
		"--samples is 1: it must be between 2 and 65536":       {detectors.IsolationForest, good, detectors.Options{Trees: 1, Samples: 1}},
		"--neighbors is -1: it must be between 1 and 4095":     {detectors.LOF, good, detectors.Options{Neighbours: -1}},
		`--distance is "": it must be largest, mean or median`: {detectors.KNN, good, detectors.Options{}},
		"at least 2 training rows are needed":                  {detectors.LOF, detectors.Rows{Features: 1, Values: []float32{1}}, detectors.Options{}},
		"row 2, column 1 is NaN: training values must be finite, and within the range of float32": {
			detectors.LOF, detectors.Rows{Features: 1, Values: []float32{1, float32(math.NaN())}}, detectors.Options{}},
	} {
		if _, err := c.fit(c.rows, c.o); err == nil || err.Error() != want {
			t.Errorf("got %v; want %s", err, want)
		}
	}
}

func ExampleIsolationForest() {
	rows := detectors.Rows{Features: 2, Values: []float32{1, 2, 2, 1, 1, 1, 2, 2}}
	f, err := detectors.IsolationForest(rows, detectors.Defaults())
	fmt.Println(len(f.Graph) > 0, err)
	// Output: true <nil>
}
