package hbos_test

import (
	"encoding/json"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/plugins/hbos"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

// scores fits HBOS to one column and scores values.
func scores(t interface{ Fatal(...any) }, train []float64, compat, config string, values ...float64) []float64 {
	o := fit.DefaultOptions()
	o.Compat = compat
	fitted, err := hbos.Fit(fit.Data{Rows: len(train), Cols: 1, Values: train}, o)
	if err != nil {
		t.Fatal(err)
	}
	setup := wasm.Setup{Config: json.RawMessage(config), Features: []wasm.Feature{{Name: "x"}}, Files: fitted.Files}
	rows := make([][]float64, len(values))
	for i, v := range values {
		rows[i] = []float64{v}
	}
	out, err := wasm.Run(hbos.New(), setup, rows)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fives are the whole numbers 0 to 10, of which most are 5.
func fives() []float64 {
	var train []float64
	for i := range 11 {
		for range map[bool]int{true: 80, false: 2}[i == 5] {
			train = append(train, float64(i))
		}
	}
	return train
}

// TestCommonestIsCommon: the commonest value scores the least, unless PyOD's scores are
// asked for.
func TestCommonestIsCommon(t *testing.T) {
	values := []float64{5, 0, 1, 4, 6, 9, 10, 20}
	got := scores(t, fives(), "", "", values...)
	for i, v := range got[1:] {
		if v <= got[0] {
			t.Errorf("%v scores %v, and 5 %v", values[i+1], v, got[0])
		}
	}
	if got[3] != got[4] {
		t.Errorf("4 scores %v, and 6 %v, which is as rare", got[3], got[4])
	}
	const pyod5, pyod6 = 3.0589, 0.1520 // 5 is looked up in the bin of 4, and 6 in that of 5
	for how, got := range map[string][]float64{
		"file": scores(t, fives(), hbos.CompatPyOD, "", 5, 6), "config": scores(t, fives(), "", `{"compat": "pyod"}`, 5, 6),
	} {
		if got[0] <= got[1] {
			t.Errorf("compat in the %s: 5 scores %v and 6 %v; PyOD %v and %v", how, got[0], got[1], pyod5, pyod6)
		}
	}
	if got := scores(t, fives(), hbos.CompatPyOD, `{"compat": ""}`, 5, 6); got[0] >= got[1] {
		t.Errorf("the config does not decide: %v", got)
	}
}

// TestConstantColumn: its value is common, and any other is not.
func TestConstantColumn(t *testing.T) {
	for _, c := range []float64{0, 7, -7, 0.1, 1e-300, 1e6, -1e15, 1e200} {
		train := []float64{c, c, c, c, c, c, c, c, c, c}
		other := c + max(0.3, math.Abs(c)*0x1p-31)
		got := scores(t, train, "", "", c, other, c+1e3+math.Abs(c), -c-1e3)
		for _, v := range got[1:] {
			if v <= got[0] {
				t.Errorf("a column of %v scores %v", c, got)
			}
		}
	}
}

func TestUnknownCompat(t *testing.T) {
	o := fit.DefaultOptions()
	o.Compat = "sklearn"
	if _, err := hbos.Fit(fit.Data{Rows: 2, Cols: 1, Values: []float64{1, 2}}, o); err == nil {
		t.Error("fitted for a compat that is none")
	}
	o.Compat = ""
	fitted, err := hbos.Fit(fit.Data{Rows: 2, Cols: 1, Values: []float64{1, 2}}, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, config := range []string{`{"compat": "sklearn"}`, `[]`} {
		setup := wasm.Setup{Config: json.RawMessage(config), Features: []wasm.Feature{{Name: "x"}}, Files: fitted.Files}
		if _, err := wasm.Run(hbos.New(), setup, [][]float64{{1}}); err == nil {
			t.Errorf("config %s is taken", config)
		}
	}
}

// TestCountedWhereLookedUp: of two training values the one whose bin holds more of them
// scores no higher, counted with nothing but the edges.
func TestCountedWhereLookedUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := rapid.SliceOfN(rapid.IntRange(-20, 20), 2, 200).Draw(t, "values")
		train := make([]float64, len(whole))
		for i, v := range whole {
			train[i] = float64(v) / 4
		}
		fitted, err := hbos.Fit(fit.Data{Rows: len(train), Cols: 1, Values: train}, fit.DefaultOptions())
		if err != nil {
			t.Fatal(err)
		}
		var file struct{ Features []struct{ Edges []float64 } }
		if err := json.Unmarshal(fitted.Files[hbos.File], &file); err != nil {
			t.Fatal(err)
		}
		edges := file.Features[0].Edges
		last := len(edges) - 2
		in := func(x float64, bin int) bool {
			return x >= edges[bin] && (x < edges[bin+1] || (bin == last && x == edges[bin+1]))
		}
		got := scores(t, train, "", "", train...)
		counts := make([]int, len(train))
		for i, x := range train {
			for bin := range last + 1 {
				for _, other := range train {
					if in(x, bin) && in(other, bin) {
						counts[i]++
					}
				}
			}
		}
		for i := range train {
			for j := range train {
				if counts[i] > counts[j] && got[i] > got[j]+1e-9 {
					t.Fatalf("%v is in a bin of %d and scores %v; %v in one of %d, %v", train[i], counts[i], got[i], train[j], counts[j], got[j])
				}
			}
		}
	})
}
