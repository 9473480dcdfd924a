package neighbours_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/neighbours"
)

// slow finds neighbours in float64, by sorting.
func slow(p neighbours.Params, q []float32) (dist []float64, row []int) {
	n := len(p.Train) / p.Features
	all := make([]float64, n)
	for i := range n {
		all[i] = distance(p, q, p.Train[i*p.Features:(i+1)*p.Features])
		row = append(row, i)
	}
	sort.SliceStable(row, func(a, b int) bool { return all[row[a]] < all[row[b]] })
	row = row[:p.K]
	for _, r := range row {
		dist = append(dist, all[r])
	}
	return dist, row
}

func distance(p neighbours.Params, a, b []float32) float64 {
	var sum, aa, bb float64
	for j := range a {
		x, y := float64(a[j]), float64(b[j])
		switch p.Metric {
		case neighbours.Euclidean:
			sum += (x - y) * (x - y)
		case neighbours.Manhattan:
			sum += math.Abs(x - y)
		case neighbours.Minkowski:
			sum += math.Pow(math.Abs(x-y), p.P)
		case neighbours.Cosine:
			sum, aa, bb = sum+x*y, aa+x*x, bb+y*y
		}
	}
	switch p.Metric {
	case neighbours.Euclidean:
		return math.Sqrt(sum)
	case neighbours.Minkowski:
		return math.Pow(sum, 1/p.P)
	case neighbours.Cosine:
		return 1 - sum/math.Sqrt(aa*bb)
	default:
		return sum
	}
}

func normal(r *rand.Rand, n int, moved float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64() + moved)
	}
	return v
}

var metrics = []neighbours.Params{
	{Metric: neighbours.Euclidean}, {Metric: neighbours.Manhattan}, {Metric: neighbours.Minkowski, P: 3}, {Metric: neighbours.Cosine},
}

func TestNearest(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, shape := range []struct{ n, d, k int }{{1, 1, 1}, {31, 3, 5}, {32, 4, 32}, {33, 1, 2}, {500, 20, 20}, {1000, 7, 1}, {700, 300, 9}} {
		for _, p := range metrics {
			t.Run(fmt.Sprintf("%v_%dx%d_%d", p.Metric, shape.n, shape.d, shape.k), func(t *testing.T) {
				p.Features, p.K, p.Train = shape.d, shape.k, normal(r, shape.n*shape.d, 0)
				x, err := neighbours.New(p)
				if err != nil {
					t.Fatal(err)
				}
				queries := normal(r, 16*shape.d, 0)
				s := x.Scratch()
				x.Nearest(queries, s)
				for i := range 16 {
					dist, _ := s.Of(i)
					want, _ := slow(p, queries[i*shape.d:(i+1)*shape.d])
					for k := range want {
						if math.Abs(float64(dist[k])-want[k]) > 2e-6*(1+want[k])*math.Sqrt(float64(shape.d)) {
							t.Fatalf("row %d, neighbour %d: %v; want %v", i, k, dist[k], want[k])
						}
					}
				}
			})
		}
	}
}

// TestTies has rows of small integers, whose distances are exact and often equal.
func TestTies(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for _, p := range metrics[:2] {
		p.Features, p.K, p.Train = 3, 25, make([]float32, 3*400)
		for i := range p.Train {
			p.Train[i] = float32(r.IntN(5))
		}
		x, err := neighbours.New(p)
		if err != nil {
			t.Fatal(err)
		}
		s := x.Scratch()
		for range 50 {
			q := []float32{float32(r.IntN(5)), float32(r.IntN(5)), float32(r.IntN(5))}
			x.Nearest(q, s)
			_, got := s.Of(0)
			_, want := slow(p, q)
			for k := range want {
				if int(got[k]) != want[k] {
					t.Fatalf("%v of %v: rows %v; want %v", p.Metric, q, got, want)
				}
			}
		}
	}
}

func TestAssemblyIsPlain(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	for _, p := range metrics[:2] {
		for _, moved := range []float64{0, 100, 1e30} {
			p.Features, p.K, p.Train = 20, 20, normal(r, 20*501, moved)
			x, err := neighbours.New(p)
			if err != nil {
				t.Fatal(err)
			}
			queries := append(normal(r, 20*14, moved), make([]float32, 40)...)
			for j := range 20 { // squares beyond the range of float32
				queries[20*14+j] = math.MaxFloat32
			}
			a, b := x.Scratch(), x.Scratch()
			x.Nearest(queries, a)
			neighbours.Plain(x).Nearest(queries, b)
			for i := range 16 {
				d1, r1 := a.Of(i)
				d2, r2 := b.Of(i)
				if fmt.Sprint(d1, r1) != fmt.Sprint(d2, r2) || len(d1) != 20 {
					t.Errorf("%v, moved by %v, row %d:\nassembly %v %v\nplain    %v %v", p.Metric, moved, i, d1, r1, d2, r2)
				}
			}
		}
	}
}

func TestCompanyChangesNothing(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	x, err := neighbours.New(neighbours.Params{Train: normal(r, 6*300, 0), Features: 6, K: 10})
	if err != nil {
		t.Fatal(err)
	}
	rows := normal(r, 6*16, 0)
	rows[6*5] = float32(math.NaN())
	rows[6*6] = float32(math.Inf(1))
	all, one := x.Scratch(), x.Scratch()
	x.Nearest(rows, all)
	for i := range 16 {
		x.Nearest(rows[6*i:6*i+6], one)
		d1, r1 := all.Of(i)
		d2, r2 := one.Of(0)
		if fmt.Sprint(d1, r1) != fmt.Sprint(d2, r2) || (len(d1) == 0) != (i == 5) || i == 6 && !math.IsInf(float64(d1[0]), 1) {
			t.Errorf("row %d: %v %v among others, %v %v alone", i, d1, r1, d2, r2)
		}
	}
}

// TestCostOfOrder checks that the cost counts training rows that come nearer one by one:
// then each of them is put before those that were found.
func TestCostOfOrder(t *testing.T) {
	t.Parallel()
	cost := func(k int) time.Duration {
		x, err := neighbours.New(neighbours.Params{Train: make([]float32, 10000), Features: 1, K: k})
		if err != nil {
			t.Fatal(err)
		}
		return x.Cost()
	}
	// 10,000 such rows took 0.4 ms for 20 neighbours, and 2 ms for 64.
	if a, b, c := cost(1), cost(20), cost(64); a > 400*time.Microsecond || b < 400*time.Microsecond || c < 2*time.Millisecond || c > 5*time.Millisecond {
		t.Errorf("1, 20 and 64 neighbours take %v, %v and %v", a, b, c)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]neighbours.Params{
		"0 features; 1 to 65536 are supported":                             {Train: []float32{1}, K: 1},
		"3 numbers are no rows of 2 features":                              {Train: []float32{1, 2, 3}, Features: 2, K: 1},
		"3 neighbours of 2 training rows; 1 to 4096 are supported":         {Train: []float32{1, 2}, Features: 1, K: 3},
		"training row 1 has no euclidean distances":                        {Train: []float32{1, float32(math.NaN())}, Features: 1, K: 1},
		"training row 0 has no cosine distances":                           {Train: []float32{0, 1}, Features: 1, K: 1, Metric: neighbours.Cosine},
		"minkowski distances of order 0.5; orders from 1 on are supported": {Train: []float32{1}, Features: 1, K: 1, Metric: neighbours.Minkowski, P: .5},
		"unknown metric 9": {Train: []float32{1}, Features: 1, K: 1, Metric: 9},
	} {
		if _, err := neighbours.New(p); err == nil || err.Error() != want {
			t.Errorf("got %v; want %s", err, want)
		}
	}
}

func FuzzNearest(f *testing.F) {
	f.Add(uint64(1), 10, 3, 2, 1)
	f.Fuzz(func(t *testing.T, seed uint64, n, d, k, scale int) {
		n, d = 1+n&127, 1+d&15
		k = 1 + (k&0xffff)%n
		r := rand.New(rand.NewPCG(seed, 1))
		p := neighbours.Params{Features: d, K: k, Train: make([]float32, n*d)}
		for i := range p.Train {
			p.Train[i] = float32(r.IntN(1 + scale&7))
		}
		x, err := neighbours.New(p)
		if err != nil {
			t.Fatal(err)
		}
		q := make([]float32, d)
		for i := range q {
			q[i] = float32(r.IntN(1 + scale&7))
		}
		s := x.Scratch()
		x.Nearest(q, s)
		_, got := s.Of(0)
		_, want := slow(p, q)
		for i := range want {
			if int(got[i]) != want[i] {
				t.Fatalf("rows %v; want %v", got, want)
			}
		}
	})
}

func BenchmarkNearest(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	x, err := neighbours.New(neighbours.Params{Train: normal(r, 5000*20, 0), Features: 20, K: 20})
	if err != nil {
		b.Fatal(err)
	}
	for name, x := range map[string]*neighbours.Index{"chosen": x, "plain": neighbours.Plain(x)} {
		for _, n := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				queries := normal(r, n*20, 0)
				s := x.Scratch()
				for b.Loop() {
					x.Nearest(queries, s)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/row")
			})
		}
	}
}

func ExampleIndex_Nearest() {
	x, err := neighbours.New(neighbours.Params{Train: []float32{0, 1, 5, 7}, Features: 1, K: 2})
	if err != nil {
		panic(err)
	}
	s := x.Scratch()
	x.Nearest([]float32{0.25}, s)
	fmt.Println(s.Of(0))
	// Output: [0.25 0.75] [0 1]
}
