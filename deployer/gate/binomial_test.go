package gate

import (
	"encoding/csv"
	"fmt"
	"math"
	"math/big"
	"os"
	"strconv"
	"testing"

	"gonum.org/v1/gonum/stat/combin"
	"pgregory.net/rapid"
)

// exact computes atLeast with fractions.
func exact(x, n int64, p *big.Rat) float64 {
	q := new(big.Rat).Sub(big.NewRat(1, 1), p)
	sum := new(big.Rat)
	for i := x; i <= n; i++ {
		term := new(big.Rat).SetInt(new(big.Int).Binomial(n, i))
		for range i {
			term.Mul(term, p)
		}
		for range n - i {
			term.Mul(term, q)
		}
		sum.Add(sum, term)
	}
	f, _ := sum.Float64()
	return f
}

func TestAtLeastExactly(t *testing.T) {
	for _, n := range []int64{1, 2, 7, 40, 90} {
		for _, p := range []*big.Rat{big.NewRat(1, 1000), big.NewRat(1, 20), big.NewRat(1, 2), big.NewRat(99, 100)} {
			f, _ := p.Float64()
			for x := int64(0); x <= n; x += 1 + n/9 {
				if got, want := atLeast(x, n, f), exact(x, n, p); math.Abs(got-want) > 1e-10*want {
					t.Errorf("atLeast(%d, %d, %v) = %v; want %v", x, n, f, got, want)
				}
			}
		}
	}
}

// TestAtLeast compares with values of scipy.stats.binom.sf(x-1, n, p) of scipy
// 1.17.1.
func TestAtLeast(t *testing.T) {
	for _, c := range []struct {
		x, n    int64
		p, want float64
	}{
		{1e6, 1e6, 0.01, 0},
		{200_000, 400_000, 0.05, 0},
		{10_100, 1e6, 0.01, 0.15865123214580007},
		{10_500, 1e6, 0.01, 3.1585658792471077e-07},
		{10_010_000, 1e9, 0.01, 0.0007425548546030758},
		{10_003_000, 1e9, 0.01, 0.1702169140600645},
		{500_020_000, 1e9, 0.5, 0.10295727405085833},
		{1, 1e9, 1e-9, 0.6321205590124974},
		{5, 1e9, 1e-9, 0.0036598468043512523},
		{1e9, 1e9, 0.999999999, 0.36787945139184386},
		{3, 2, 0.5, 0},
		{0, 2, 0.5, 1},
	} {
		t.Run(fmt.Sprintf("%d of %d at %v", c.x, c.n, c.p), func(t *testing.T) {
			if got := atLeast(c.x, c.n, c.p); math.Abs(got-c.want) > 1e-5*c.want {
				t.Errorf("%v; want %v", got, c.want)
			}
		})
	}
}

// TestTails compares with values of scipy 1.17.1 over the whole range of n and p,
// which testdata/binomial.py wrote.
func TestTails(t *testing.T) {
	f, err := os.Open("testdata/binomial.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) < 500 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	number := func(s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	worst := 0.0
	for _, r := range rows[1:] {
		x, n, p, want := number(r[0]), number(r[1]), number(r[2]), number(r[3])
		off := math.Abs(atLeast(int64(x), int64(n), p)-want) / want
		if worst = math.Max(worst, off); off > 1e-5 {
			t.Errorf("atLeast(%v, %v, %v) is off by %.1e of %v", x, n, p, off, want)
		}
	}
	t.Logf("%d values, the worst off by %.1e", len(rows)-1, worst)
}

// TestAgainstSums compares with the sum of the distribution's terms where n allows
// it.
func TestAgainstSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, 20_000).Draw(t, "n")
		p := math.Exp(rapid.Float64Range(math.Log(1e-6), math.Log(0.999999)).Draw(t, "log p"))
		x := rapid.Int64Range(max(0, int64(float64(n)*p)-200), min(n, int64(float64(n)*p)+200)).Draw(t, "x")
		sum := 0.0
		for i := n; i >= x; i-- { // smallest terms first
			sum += math.Exp(combin.LogGeneralizedBinomial(float64(n), float64(i)) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
		}
		if got := atLeast(x, n, p); math.Abs(got-sum) > 1e-7*sum+1e-300 {
			t.Errorf("atLeast(%d, %d, %v) = %v; the sum is %v", x, n, p, got, sum)
		}
	})
}

// TestMonotone checks for n up to 1e9 that more events are less likely, and that a
// larger probability of an event makes as many of them likelier.
func TestMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := int64(math.Exp(rapid.Float64Range(0, math.Log(1e9)).Draw(t, "log n")))
		p := rapid.Float64Range(1e-9, 1-1e-9).Draw(t, "p")
		x := rapid.Int64Range(0, n).Draw(t, "x")
		at, more, likelier := atLeast(x, n, p), atLeast(x+1, n, p), atLeast(x, n, min(1, p*1.01))
		if !(at >= 0 && at <= 1) || more > at+1e-5 || likelier < at-1e-5 {
			t.Errorf("%v; one more %v, likelier %v", at, more, likelier)
		}
	})
}

// TestManyFailures checks that a version whose requests all fail does not pass,
// however many there were.
func TestManyFailures(t *testing.T) {
	for _, n := range []int64{100, 10_000, 1e6, 1e9} {
		for _, share := range []int64{1, 2, 10} {
			if v := proportion("errors", n/share, n, 0, n, 0.01, 0.001, false); v.Result != Fail {
				t.Errorf("%d of %d failed, and none of as many before: %s", n/share, n, v.Result)
			}
		}
	}
}
