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
func slow[T neighbours.Number](p neighbours.Params[T], q []T) (dist []float64, row []int) {
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

func distance[T neighbours.Number](p neighbours.Params[T], a, b []T) float64 {
	var sum float64
	for j := range a {
		x, y := float64(a[j]), float64(b[j])
		switch p.Metric {
		case neighbours.Euclidean:
			sum += (x - y) * (x - y)
		case neighbours.Manhattan:
			sum += math.Abs(x - y)
		case neighbours.Minkowski:
			sum += math.Pow(math.Abs(x-y), p.P)
		}
	}
	switch p.Metric {
	case neighbours.Euclidean:
		return math.Sqrt(sum)
	case neighbours.Minkowski:
		return math.Pow(sum, 1/p.P)
	default:
		return sum
	}
}

func normal[T neighbours.Number](r *rand.Rand, n int, moved float64) []T {
	v := make([]T, n)
	for i := range v {
		v[i] = T(r.NormFloat64() + moved)
	}
	return v
}

func metrics[T neighbours.Number]() []neighbours.Params[T] {
	return []neighbours.Params[T]{{Metric: neighbours.Euclidean}, {Metric: neighbours.Manhattan}, {Metric: neighbours.Minkowski, P: 3}}
}

func largest[T neighbours.Number]() T {
	v := T(math.MaxFloat32)
	if double := math.MaxFloat64; !math.IsInf(float64(v*2), 1) {
		v = T(double)
	}
	return v
}

// both runs a test with both types of numbers.
func both(t *testing.T, single, double func(*testing.T)) {
	t.Helper()
	t.Parallel()
	t.Run("float32", single)
	t.Run("float64", double)
}

func TestNearest(t *testing.T) {
	both(t, testNearest[float32], testNearest[float64])
}

func testNearest[T neighbours.Number](t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, shape := range []struct{ n, d, k int }{{1, 1, 1}, {31, 3, 5}, {32, 4, 32}, {33, 1, 2}, {500, 20, 20}, {1000, 7, 1}, {700, 300, 9}} {
		for _, p := range metrics[T]() {
			t.Run(fmt.Sprintf("%v_%dx%d_%d", p.Metric, shape.n, shape.d, shape.k), func(t *testing.T) {
				p.Features, p.K, p.Train = shape.d, shape.k, normal[T](r, shape.n*shape.d, 0)
				x, err := neighbours.New(p)
				if err != nil {
					t.Fatal(err)
				}
				queries := normal[T](r, 16*shape.d, 0)
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
	both(t, testTies[float32], testTies[float64])
}

func testTies[T neighbours.Number](t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, p := range metrics[T]()[:2] {
		p.Features, p.K, p.Train = 3, 25, make([]T, 3*400)
		for i := range p.Train {
			p.Train[i] = T(r.IntN(5))
		}
		x, err := neighbours.New(p)
		if err != nil {
			t.Fatal(err)
		}
		s := x.Scratch()
		for range 50 {
			q := []T{T(r.IntN(5)), T(r.IntN(5)), T(r.IntN(5))}
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
	both(t, testAssemblyIsPlain[float32], testAssemblyIsPlain[float64])
}

func testAssemblyIsPlain[T neighbours.Number](t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, p := range metrics[T]()[:2] {
		for _, moved := range []float64{0, 100, 1e30} {
			p.Features, p.K, p.Train = 20, 20, normal[T](r, 20*501, moved)
			x, err := neighbours.New(p)
			if err != nil {
				t.Fatal(err)
			}
			queries := append(normal[T](r, 20*14, moved), make([]T, 40)...)
			for j := range 20 { // squares beyond the range of the type
				queries[20*14+j] = largest[T]()
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
	both(t, testCompanyChangesNothing[float32], testCompanyChangesNothing[float64])
}

func testCompanyChangesNothing[T neighbours.Number](t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	x, err := neighbours.New(neighbours.Params[T]{Train: normal[T](r, 6*300, 0), Features: 6, K: 10})
	if err != nil {
		t.Fatal(err)
	}
	rows := normal[T](r, 6*16, 0)
	rows[6*5] = T(math.NaN())
	rows[6*6] = T(math.Inf(1))
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

// TestCost checks the estimates of searches whose time is known, and that few rows are
// kept for a while even if training rows come nearer one by one.
func TestCost(t *testing.T) {
	t.Parallel()
	cost := func(n, d, k int) time.Duration {
		x, err := neighbours.New(neighbours.Params[float32]{Train: make([]float32, n*d), Features: d, K: k})
		if err != nil {
			t.Fatal(err)
		}
		return neighbours.Plain(x).Cost()
	}
	// 5,000 rows of 20 features take 62 us, and 20 neighbours of 10,000 rows of one feature 20 us.
	for _, c := range []struct {
		n, d, k   int
		low, high time.Duration
	}{{5000, 20, 20, 62, 620}, {10000, 1, 20, 20, 200}, {10000, 1, 4096, 2000, 20000}} {
		if got := cost(c.n, c.d, c.k); got < c.low*time.Microsecond || got > c.high*time.Microsecond {
			t.Errorf("%d neighbours of %d rows of %d features take %v", c.k, c.n, c.d, got)
		}
	}
	const n, k = 10000, 20
	p := neighbours.Params[float64]{Train: make([]float64, n), Features: 1, K: k}
	for i := range p.Train {
		p.Train[i] = float64(n - i)
	}
	x, err := neighbours.New(p)
	if err != nil {
		t.Fatal(err)
	}
	s := x.Scratch()
	x.Nearest([]float64{0}, s)
	if _, rows := s.Of(0); rows[0] != n-1 || rows[k-1] != n-k {
		t.Errorf("found rows %v", rows)
	}
	if kept := neighbours.Kept(x, 0); kept > 400 {
		t.Errorf("%d rows were kept for a while", kept)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]neighbours.Params[float32]{
		"0 features; 1 to 65536 are supported":                             {Train: []float32{1}, K: 1},
		"3 numbers are no rows of 2 features":                              {Train: []float32{1, 2, 3}, Features: 2, K: 1},
		"3 neighbours of 2 training rows; 1 to 4096 are supported":         {Train: []float32{1, 2}, Features: 1, K: 3},
		"training row 1 has no euclidean distances":                        {Train: []float32{1, float32(math.NaN())}, Features: 1, K: 1},
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
	f.Add(uint64(2), 99, 2, 40, 0)
	f.Fuzz(func(t *testing.T, seed uint64, n, d, k, scale int) {
		n, d = 1+n&127, 1+d&15
		k = 1 + (k&0xffff)%n
		fuzzNearest[float32](t, seed, n, d, k, scale)
		fuzzNearest[float64](t, seed, n, d, k, scale)
	})
}

func fuzzNearest[T neighbours.Number](t *testing.T, seed uint64, n, d, k, scale int) {
	r := rand.New(rand.NewPCG(seed, 1))
	p := neighbours.Params[T]{Features: d, K: k, Train: make([]T, n*d), Metric: neighbours.Metric(scale >> 3 & 1)}
	for i := range p.Train {
		p.Train[i] = T(r.IntN(1 + scale&7))
	}
	x, err := neighbours.New(p)
	if err != nil {
		t.Fatal(err)
	}
	q := make([]T, d)
	for i := range q {
		q[i] = T(r.IntN(1 + scale&7))
		if scale&32 != 0 {
			q[i] = T(math.Inf(1))
		}
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
}

func BenchmarkNearest(b *testing.B) {
	b.Run("float32", benchmarkNearest[float32])
	b.Run("float64", benchmarkNearest[float64])
}

func benchmarkNearest[T neighbours.Number](b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	x, err := neighbours.New(neighbours.Params[T]{Train: normal[T](r, 5000*20, 0), Features: 20, K: 20})
	if err != nil {
		b.Fatal(err)
	}
	for name, x := range map[string]*neighbours.Index[T]{"chosen": x, "plain": neighbours.Plain(x)} {
		for _, n := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				queries := normal[T](r, n*20, 0)
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
	x, err := neighbours.New(neighbours.Params[float32]{Train: []float32{0, 1, 5, 7}, Features: 1, K: 2})
	if err != nil {
		panic(err)
	}
	s := x.Scratch()
	x.Nearest([]float32{0.25}, s)
	fmt.Println(s.Of(0))
	// Output: [0.25 0.75] [0 1]
}
