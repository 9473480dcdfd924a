package gate

import (
	"fmt"
	"math"
	"math/big"
	"testing"
)

// exact is atLeast by fractions.
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

// TestAtLeast: values of scipy.stats.binom.sf(x-1, n, p), scipy 1.17.1.
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

// TestManyFailures: a version all of whose requests fail does not pass, however many
// there were.
func TestManyFailures(t *testing.T) {
	for _, n := range []int64{100, 10_000, 1e6, 1e9} {
		for _, share := range []int64{1, 2, 10} {
			if v := proportion("errors", n/share, n, 0, n, 0.01, 0.001, false); v.Result != Fail {
				t.Errorf("%d of %d failed, and none of as many before: %s", n/share, n, v.Result)
			}
		}
	}
}
