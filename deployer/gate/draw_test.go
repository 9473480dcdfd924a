package gate_test

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
	"github.com/pynomaly/pynomaly-runtime/runtime/stats"
)

// version is what requests to a version count as. Each has one row.
type version struct {
	errors, failed, nonfinite, anomalies float64 // shares
	scores, durations                    normal  // of durations the logarithms
	paired                               bool
	flips, noise                         float64 // of replayed rows
}

// normal is a normal distribution; of deviation 0 it is one number.
type normal struct{ mean, sd float64 }

// below is the probability of at most x.
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
	case n < 50: // which the library's way for few takes as long for
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

// spread draws how many of n fall between edges, and beyond the last one.
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

// grid are the edges of a host's sketch of two distributions.
func grid(a, b normal) []float64 {
	c := stats.New([]float64{0})
	for _, d := range []normal{a, b} {
		const steps = 100 // finer bins would take longer and tell no more
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

// pairs adds replayed rows until there are n.
func (v version) pairs(all []gate.Pair, n int, r *rand.Rand) []gate.Pair {
	for len(all) < n {
		x := r.NormFloat64()
		p := gate.Pair{Stable: x, Update: x + v.noise*r.NormFloat64(), StableAnomaly: x > 1.645}
		p.UpdateAnomaly = p.StableAnomaly != (r.Float64() < v.flips)
		all = append(all, p)
	}
	return all
}
