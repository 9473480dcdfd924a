package gate_test

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
	"github.com/pynomaly/pynomaly-runtime/runtime/stats"
)

// version describes what requests to a version count as. Each request has one row.
type version struct {
	errors, failed, nonfinite, anomalies float64 // shares
	scores, durations                    normal  // durations: of their logarithms
	paired                               bool
	flips, noise                         float64 // of replayed rows
}

// normal is a normal distribution. With deviation 0 it is a single number.
type normal struct{ mean, sd float64 }

// below returns the probability of at most x.
func (d normal) below(x float64) float64 {
	if d.sd == 0 {
		if d.mean <= x {
			return 1
		}
		return 0
	}
	return 0.5 * math.Erfc(-(x-d.mean)/(d.sd*math.Sqrt2))
}

func binomial(n int64, p float64, r *rand.Rand) int64 {
	switch {
	case n <= 0 || p <= 0:
		return 0
	case p >= 1:
		return n
	case n < 50: // the library's method for few is as slow
		k := int64(0)
		for range n {
			if r.Float64() < p {
				k++
			}
		}
		return k
	}
	return int64(distuv.Binomial{N: float64(n), P: p, Src: r}.Rand())
}

// spread draws how many of n values fall into each bin, the last of which is
// unbounded.
func (d normal) spread(counts []uint64, edges []float64, n int64, r *rand.Rand) {
	before := 0.0
	for i := range counts {
		upTo := 1.0
		if i < len(edges) {
			upTo = d.below(edges[i])
		}
		k := n
		if left := 1 - before; upTo < 1 && left > 0 {
			k = binomial(n, (upTo-before)/left, r)
		}
		counts[i] += uint64(k)
		n -= k
		before = upTo
	}
}

// grid returns the edges of a host's sketch of two distributions.
func grid(a, b normal) []float64 {
	c := stats.New([]float64{0})
	for _, d := range []normal{a, b} {
		const steps = 100 // finer bins take longer and show no more
		for i := range steps + 1 {
			c.Record(&stats.Call{Scores: []float64{d.mean + d.sd*8*(2*float64(i)/steps-1)}})
		}
	}
	return c.Sketch().Edges
}

func seconds() []float64 {
	return []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
}

// count adds n requests to a version's counters, whose sketch has the given edges.
func (v version) count(s *gate.Sample, edges []float64, n int64, r *rand.Rand) {
	errors := binomial(n, v.errors, r)
	failed := binomial(n-errors, v.failed, r)
	nonfinite := binomial(n-errors-failed, v.nonfinite, r)
	scored := n - errors - failed - nonfinite
	s.Errors += errors + failed
	s.Requests += n - errors - failed
	s.Failed += errors + failed
	s.Rows += n
	s.Nonfinite += nonfinite
	s.Anomalies += binomial(scored, v.anomalies, r)
	if v.scores != (normal{}) {
		if s.Sketch.Edges == nil {
			s.Sketch = api.Sketch{Edges: edges, Counts: make([]uint64, len(edges))}
		}
		v.scores.spread(s.Sketch.Counts, edges[:len(edges)-1], scored, r)
	}
	if v.durations != (normal{}) {
		if s.Durations.Counts == nil {
			s.Durations = api.Histogram{Edges: seconds(), Counts: make([]uint64, len(seconds())+1)}
		}
		logs := seconds()
		for i, x := range logs {
			logs[i] = math.Log(x)
		}
		v.durations.spread(s.Durations.Counts, logs, n-errors, r)
	}
}

// pairs appends replayed rows until there are n.
func (v version) pairs(all []gate.Pair, n int, r *rand.Rand) []gate.Pair {
	for len(all) < n {
		x := r.NormFloat64()
		p := gate.Pair{Stable: x, Update: x + v.noise*r.NormFloat64(), StableAnomaly: x > 1.645}
		p.UpdateAnomaly = p.StableAnomaly != (r.Float64() < v.flips)
		all = append(all, p)
	}
	return all
}
