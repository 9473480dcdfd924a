package hstrees

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
)

// reference is a run of river's HalfSpaceTrees, made by
// testdata/half_space_trees.py.
type reference struct {
	Trees []struct {
		Feature   []int32
		Threshold []float64
	}
	Height   int
	Window   int `json:"window_size"`
	Features []string
	Limits   [][2]float64
	Rows     [][]*float64
	Scores   []float64
}

func readReference(t testing.TB, file string) (r reference, f *forest) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	var splits []split
	for _, tree := range r.Trees {
		for i := range tree.Feature {
			splits = append(splits, split{tree.Threshold[i], tree.Feature[i]})
		}
	}
	if f, err = newForest(len(r.Trees), r.Height, r.Window, len(r.Features), splits); err != nil {
		t.Fatal(err)
	}
	return r, f
}

func values(row []*float64) []float64 {
	out := make([]float64, len(row))
	for j, v := range row {
		out[j] = math.NaN()
		if v != nil {
			out[j] = *v
		}
	}
	return out
}

// TestRiver checks that with river's trees and rows every score equals river's, bit
// for bit, even if the state is saved and loaded before each row.
func TestRiver(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			r, f := readReference(t, file)
			_, again := readReference(t, file)
			for i, cells := range r.Rows {
				row := values(cells)
				if got := f.score(row); got != r.Scores[i] {
					t.Fatalf("row %d scored %v, river says %v", i, got, r.Scores[i])
				}
				if err := again.load(f.save()); err != nil {
					t.Fatalf("row %d: %v", i, err)
				}
				if got := again.score(row); got != r.Scores[i] {
					t.Fatalf("row %d scored %v after loading the state, river says %v", i, got, r.Scores[i])
				}
				f.learn(row)
			}
		})
	}
}

// TestDraw checks that trees have the distribution of river's: splits lie inside
// their boxes and wide features are chosen more often. Equal seeds give equal trees.
func TestDraw(t *testing.T) {
	c := config{Trees: 2000, Height: 3, Window: 10, Seed: 3, Limits: [][2]float64{{0, 1}, {0, 3}, {5, 5}}}
	f, err := draw(c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := draw(c)
	if err != nil || !slices.Equal(f.splits, again.splits) {
		t.Error("equal seeds gave different trees")
	}
	wide := 0
	for k := range c.Trees {
		root := f.splits[k*f.inner()]
		if root.feature == 2 {
			t.Fatal("a constant feature was split")
		}
		l := c.Limits[root.feature]
		if w := l[1] - l[0]; root.threshold < l[0]+padding*w || root.threshold > l[1]-padding*w {
			t.Fatalf("a threshold of %v in %v", root.threshold, l)
		}
		if root.feature == 1 {
			wide++
		}
	}
	if share := float64(wide) / float64(c.Trees); math.Abs(share-0.75) > 0.05 {
		t.Errorf("the wide feature has a share of %v of the roots, not 0.75", share)
	}
	for name, bad := range map[string]config{
		"constant": {Trees: 1, Height: 1, Window: 1, Limits: [][2]float64{{1, 1}}}, "no trees": {Height: 1, Window: 1, Limits: c.Limits},
		"high": {Trees: 1, Height: 21, Window: 1, Limits: c.Limits}, "many": {Trees: 1 << 20, Height: 10, Window: 1, Limits: c.Limits},
		"backwards": {Trees: 1, Height: 1, Window: 1, Limits: [][2]float64{{1, 0}}}, "no window": {Trees: 1, Height: 1, Limits: c.Limits}, "no features": {Trees: 1, Height: 1, Window: 1},
		"infinite": {Trees: 1, Height: 1, Window: 1, Limits: [][2]float64{{0, math.Inf(1)}}},
	} {
		if _, err := draw(bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestFit(t *testing.T) {
	d := fit.Data{Rows: 600, Cols: 2}
	for i := range d.Rows {
		d.Values = append(d.Values, float64(i%17), float64(i%23))
	}
	o := fit.DefaultOptions()
	fitted, err := Fit(d, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(fitted.Scores) != d.Rows-o.Window || slices.Min(fitted.Scores) < 0 || slices.Max(fitted.Scores) > 1 {
		t.Errorf("%d scores", len(fitted.Scores))
	}
	o.Window = 301
	if _, err := Fit(d, o); err == nil {
		t.Error("rows for less than two windows were accepted")
	}
}

// FuzzLoad checks that a damaged state is refused and changes nothing, and that a
// good one gives scores in range.
func FuzzLoad(f *testing.F) {
	_, forest := readReference(f, "testdata/half_space_trees_small.json")
	f.Add(forest.save())
	for i := range 100 {
		forest.learn([]float64{float64(i) / 100, 0.5, 0.25, 1})
	}
	f.Add(forest.save())
	f.Add([]byte("HST1"))
	before := forest.score([]float64{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, state []byte) {
		fresh, err := newForest(forest.trees, forest.height, forest.window, forest.features, forest.splits)
		if err != nil {
			t.Fatal(err)
		}
		if err := fresh.load(forest.save()); err != nil {
			t.Fatal(err)
		}
		err = fresh.load(state)
		got := fresh.score([]float64{0, 0, 0, 0})
		if err != nil && got != before {
			t.Error("a refused state changed the scores")
		}
		if got < 0 || got > 1 {
			t.Errorf("score %v", got)
		}
	})
}
