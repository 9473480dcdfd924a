package stats

import (
	"math"
	"testing"
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

func TestAgree(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		a, b float64
		want bool
	}{{1, 1.000009, true}, {1, 1.00002, false}, {1000, 1000.009, true}, {nan, nan, true}, {nan, 1, false}, {inf, inf, true}, {inf, 1, false}} {
		if got := Agree(c.a, c.b, 1e-5); got != c.want {
			t.Errorf("Agree(%v, %v) = %v", c.a, c.b, got)
		}
	}
}
