package stats

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestExCeeD(t *testing.T) {
	for _, c := range []struct {
		n     int
		gamma float64
		count int
		want  float64
	}{
		{10, .1, 10, .418904}, {100, .1, 91, .477384}, {1000, .1, 910, .830714}, {1000, .01, 990, .341708},
		{100, .005, 50, 0}, // m = 0
	} {
		if got := ExCeeD(c.n, c.count, c.gamma); math.Abs(got-c.want) > 5e-7 {
			t.Errorf("ExCeeD(%d, %d, %v) = %v, want %v", c.n, c.count, c.gamma, got, c.want)
		}
	}
}

func TestCountAtMost(t *testing.T) {
	v := []float64{1, 2, 2, 3}
	for x, want := range map[float64]int{0: 0, 1: 1, 2: 3, 2.5: 3, 3: 4, 9: 4} {
		if got := CountAtMost(v, x); got != want {
			t.Errorf("CountAtMost(%v) = %d, want %d", x, got, want)
		}
	}
}

func TestCalibrations(t *testing.T) {
	if got := Unify(1, 0, 1); math.Abs(got-0.6826894921370859) > 1e-15 {
		t.Errorf("Unify = %v", got)
	}
	for s, want := range map[float64]float64{-1: 0, 0: 0, 1: 0.5, 2: 1, 5: 1} {
		if got := Linear(s, 0, 2); got != want {
			t.Errorf("Linear(%v) = %v, want %v", s, got, want)
		}
	}
	if mean, std := MeanStd([]float64{1, 3}); mean != 2 || std != 1 {
		t.Errorf("MeanStd = %v, %v", mean, std)
	}
}

// TestCalibrationsOfAnySize compares the calibrations with exact fractions, for
// scores whose squares, sums or differences overflow.
func TestCalibrationsOfAnySize(t *testing.T) {
	const huge = math.MaxFloat64
	mean, std := MeanStd([]float64{-1, 1e308, 1e308})
	near := func(what string, got, want float64) {
		t.Helper()
		if !(math.Abs(got-want) <= 1e-14*math.Abs(want)) {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	near("the mean", mean, 2e308/3)
	near("the deviation", std, 1e308*math.Sqrt(2)/3)
	near("unify", Unify(1e308, mean, std), math.Erf(0.5))
	for _, scale := range []float64{1e-320, 1e-300, 1e-160, 1e-3, 1, 1e160, 1e300} {
		mean, std := MeanStd([]float64{scale, 2 * scale, 3 * scale, 6 * scale})
		if exact := scale >= 1e-300; exact {
			near("the mean", mean, 3*scale)
			near("the deviation", std, scale*math.Sqrt(3.5))
			near("unify", Unify(5*scale, mean, std), math.Erf(2/math.Sqrt(7)))
		} else if !(mean > scale && mean < 6*scale && std > 0) {
			t.Errorf("mean and deviation around %v are %v and %v", scale, mean, std)
		}
	}
	for _, v := range []float64{0.1, 1e300, 5e-324} {
		if mean, std := MeanStd([]float64{v, v, v, v, v, v, v, v, v, v}); mean != v || std != 0 {
			t.Errorf("mean and deviation of ten times %v are %v and %v", v, mean, std)
		}
	}
	near("linear", Linear(0, -huge, huge), 0.5)
	near("linear", Linear(huge/2, -huge, huge), 0.75)
	near("linear above", Linear(huge, -huge, -huge/2), 1)
	near("between", Between(-huge, huge, 0.75), huge/2)
}

// TestCalibrationsAreProbabilities checks for any finite scores that results are
// from 0 to 1 and do not fall as the score rises.
func TestCalibrationsAreProbabilities(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(rapid.Float64(), rapid.Float64Range(-10, 10), rapid.SampledFrom([]float64{0, -1, 1e160, 1e308, -1e308, math.MaxFloat64, 5e-324}))
		train := rapid.SliceOfN(number, 2, 20).Draw(t, "training scores")
		a, b := number.Draw(t, "score"), number.Draw(t, "other score")
		a, b = min(a, b), max(a, b)
		mean, std := MeanStd(train)
		low, high := slices.Min(train), slices.Max(train)
		check := func(how string, of func(float64) float64) {
			if x, y := of(a), of(b); !(x >= 0 && x <= y && y <= 1) {
				t.Fatalf("%s over %v: %v for %v and %v for %v", how, train, x, a, y, b)
			}
		}
		if std > 0 {
			check("unify", func(s float64) float64 { return Unify(s, mean, std) })
		}
		if low < high {
			check("linear", func(s float64) float64 { return Linear(s, low, high) })
		}
	})
}
