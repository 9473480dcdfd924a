package gate

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"

	"github.com/pynomaly/pynomaly-runtime/api"
)

// compared has the scores of both sides in the same bins.
type compared struct {
	stable, update []float64 // counts
	n, m           float64   // their sums
	top            float64   // share of stable's scores in its fullest bin
	atom           bool      // that bin holds only the score 0
}

// tells reports whether the bins show how stable's scores are spread. They do not if
// nearly all scores lie in one bin.
func (c *compared) tells() bool { return c.top < 0.9 || c.atom }

// inCommon puts the scores of both sides into common bins: those of the manifests if
// both have the same, or those of the hosts' sketches, whichever show more of how
// stable's scores are spread. It returns nil if there are no common bins.
func inCommon(stable, update Sample) *compared {
	var best *compared
	a, b := stable.Scores, update.Scores
	if !stable.Mixed && !update.Mixed && slices.Equal(a.Edges, b.Edges) && len(a.Counts) == len(b.Counts) && len(a.Counts) > 0 {
		best = newCompared(floats(a.Counts), floats(b.Counts), -1)
	}
	if !stable.Unsketched && !update.Unsketched && len(stable.Sketch.Edges) > 0 && len(update.Sketch.Edges) > 0 {
		edges, a, b := align(stable.Sketch, update.Sketch)
		fine := newCompared(a, b, slices.Index(edges, zeroEdge))
		if best == nil || fine.top <= best.top || fine.atom {
			best = fine
		}
	}
	return best
}

// zeroEdge is the upper edge of the sketch's bin around 0. Its scores count as 0.
const zeroEdge = 0x1p-128

func newCompared(stable, update []float64, zero int) *compared {
	c := &compared{stable: stable, update: update}
	fullest := 0
	for i := range stable {
		c.n += stable[i]
		c.m += update[i]
		if stable[i] > stable[fullest] {
			fullest = i
		}
	}
	if c.n > 0 {
		c.top, c.atom = stable[fullest]/c.n, fullest == zero
	}
	return c
}

func floats(counts []uint64) []float64 {
	out := make([]float64, len(counts))
	for i, c := range counts {
		out[i] = float64(c)
	}
	return out
}

// align merges the edges of two sketches and returns the counts of both between
// them.
func align(a, b api.Sketch) (edges, x, y []float64) {
	edges = slices.Concat(a.Edges, b.Edges)
	slices.Sort(edges)
	edges = slices.Compact(edges)
	spread := func(s api.Sketch) []float64 {
		out := make([]float64, len(edges))
		for i, e := range s.Edges {
			at, _ := slices.BinarySearch(edges, e)
			out[at] = float64(s.Counts[i])
		}
		return out
	}
	return edges, spread(a), spread(b)
}

// plusSketch adds sign times b to a.
func plusSketch(a, b api.Sketch, sign int64) api.Sketch {
	if len(b.Edges) == 0 {
		return a
	}
	edges, x, y := align(a, b)
	out := api.Sketch{Edges: make([]float64, 0, len(edges)), Counts: make([]uint64, 0, len(edges))}
	for i, e := range edges {
		if n := x[i] + float64(sign)*y[i]; n > 0 {
			out.Edges, out.Counts = append(out.Edges, e), append(out.Counts, uint64(n))
		}
	}
	return out
}

// psiGroups is the number of groups of bins that the population stability index
// uses.
const psiGroups = 10

// groups gathers neighbouring bins into groups that have about as many of stable's
// scores each: its quantiles, as precisely as the bins show them. A bin with enough
// scores is a group alone.
func (c *compared) groups() (stable, update []float64) {
	enough := c.n / psiGroups
	p, q := 0.0, 0.0
	closed := func() {
		if p > 0 || q > 0 {
			stable, update = append(stable, p), append(update, q)
			p, q = 0, 0
		}
	}
	alone := false // the last group is a single bin with enough scores
	for i, n := range c.stable {
		if n >= enough {
			closed()
		}
		p, q = p+n, q+c.update[i]
		if p >= enough {
			closed()
			alone = n >= enough
		}
	}
	if last := len(stable) - 1; last >= 0 && !alone && p < enough/2 { // too few for a group
		stable[last], update[last] = stable[last]+p, update[last]+q
		return stable, update
	}
	closed()
	return stable, update
}

// psi returns the population stability index, its mean where nothing differs, and
// the probability of an index as large if the true index is limit. Each group gets
// half a count, so that empty groups do not dominate.
//
// Without a difference, the index divided by 1/n + 1/m has a chi-square distribution
// with one degree of freedom less than there are groups. With a difference the
// distribution is noncentral chi-square, for which psi uses Patnaik's approximation
// (Biometrika 36, 1949).
func (c *compared) psi(limit float64) (index, noise, atLimit float64) {
	a, b := c.groups()
	groups := float64(len(a))
	for i := range a {
		p, q := (a[i]+0.5)/(c.n+0.5*groups), (b[i]+0.5)/(c.m+0.5*groups)
		index += (q - p) * math.Log(q/p)
	}
	unit, freedom := 1/c.n+1/c.m, groups-1
	if freedom < 1 {
		return index, 0, 1
	}
	beyond := limit / unit
	scale := (freedom + 2*beyond) / (freedom + beyond)
	half := (freedom + beyond) / scale / 2
	return index, freedom * unit, mathext.GammaIncRegComp(half, index/unit/scale/2)
}

// distance returns the Kolmogorov-Smirnov distance on the bins.
func (c *compared) distance() float64 {
	ks, left, right := 0.0, 0.0, 0.0
	for i := range c.stable {
		left += c.stable[i] / c.n
		right += c.update[i] / c.m
		ks = math.Max(ks, math.Abs(left-right))
	}
	return ks
}

// Span is the range of all scores that hosts have counted.
type Span struct{ Low, High float64 }

// sameScore reports whether both sides have given only one score, and the same.
func sameScore(a, b Sample) bool {
	return a.Span != nil && b.Span != nil && a.Span.Low == a.Span.High && *a.Span == *b.Span
}

// without sets the verdict if there is nothing to compare, and reports whether that
// is so.
func without(v Verdict, c *compared) (Verdict, bool) {
	switch {
	case c == nil:
		v.Result, v.Message = CannotTell, "the revisions count scores in different bins, and not all of their hosts keep sketches"
	case c.n == 0 || c.m == 0:
		v.Result, v.Message = Inconclusive, "one side has counted nothing"
	default:
		return v, false
	}
	return v, true
}

// constant fails if all of many scores lie in one bin and stable's do not. Chance
// does that with the probability that as many of stable's scores lie in one bin.
func constant(stable, update Sample, c *compared, alpha float64) Verdict {
	v := Verdict{Gate: Constant, Result: Pass, N: update.Rows, Limit: 1}
	v, nothing := without(v, c)
	if nothing {
		return v
	}
	v.Statistic = slices.Max(c.update) / c.m
	v.Message = fmt.Sprintf("%.3g of the scores in one bin, %.3g of stable's", v.Statistic, c.top)
	switch {
	case v.Statistic < 1 || sameScore(stable, update):
	case c.top < 0.9:
		p := math.Pow((c.top*c.n+1)/(c.n+1), c.m)
		v.Result = certainty(p, p, alpha)
		if c.n < earliest {
			v.Result = Inconclusive
		}
	default:
		v.Result, v.Message = CannotTell, v.Message+": the bins do not tell a constant score from stable's"
	}
	return v
}

// distribution compares the scores by the population stability index over stable's
// quantiles, and by the two-sample Kolmogorov-Smirnov test on the bins, which is
// conservative (its probability is Smirnov's limit, as in Conover, Practical
// Nonparametric Statistics, 6.3). It fails only if both tests exclude chance.
func distribution(stable, update Sample, c *compared, limit, alpha float64) Verdict {
	v := Verdict{Gate: Scores, Result: Pass, N: update.Rows, Limit: limit}
	v, nothing := without(v, c)
	if nothing {
		return v
	}
	ks := c.distance()
	psi, noise, atLimit := c.psi(limit)
	v.Statistic = psi
	v.Message = fmt.Sprintf("PSI %.3f, Kolmogorov-Smirnov distance %.3f", v.Statistic, ks)
	if psi > limit+noise {
		atNone := 2 * math.Exp(-2*ks*ks*c.n*c.m/(c.n+c.m))
		v.Result = certainty(max(atNone, atLimit), atNone, alpha)
	}
	if v.Result == Pass && !c.tells() && !sameScore(stable, update) {
		v.Result = CannotTell
		v.Message += fmt.Sprintf(": %.3g of stable's scores lie in one bin, so that the bins do not tell", c.top)
	}
	return v
}
