package gate

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"

	"github.com/pynomaly/pynomaly-runtime/api"
)

// Result is what a gate says.
type Result string

// The results.
const (
	Pass         Result = "Pass"
	Fail         Result = "Fail"
	Inconclusive Result = "Inconclusive" // too few samples
	CannotTell   Result = "CannotTell"   // however many samples there are: a difference would not show
	Skipped      Result = "Skipped"      // the gate does not apply to these revisions
	Error        Result = "Error"        // the figures cannot be had
)

// Limits bound how a new revision may differ. A difference fails a gate only where it
// is beyond the limit and is no chance.
type Limits struct {
	MinSamples int64    // rows of each side before a comparison passes
	Errors     float64  // difference of the shares of failed requests, and of failed rows
	Anomalies  float64  // difference of the shares of anomalies
	Nonfinite  float64  // difference of the shares of scores that are not finite
	Latency    float64  // how much longer the 95th percentile may be, relative
	PSI        float64  // population stability index of the scores
	Disagree   float64  // share of replayed rows that are judged differently
	Rank       float64  // least rank correlation of the scores of replayed rows
	Alpha      float64  // of all gates and looks together
	Skip       []string // gates that are not asked for
}

// Defaults are limits for models that should do about the same.
func Defaults() Limits {
	return Limits{MinSamples: 1000, Errors: 0.01, Anomalies: 0.05, Nonfinite: 0.001, Latency: 1, PSI: 0.25, Disagree: 0.05, Rank: 0.8, Alpha: 0.01}
}

// Verdict is one gate's word and what it rests on.
type Verdict struct {
	Gate      string
	Result    Result
	N         int64 // samples of the new revision
	Statistic float64
	Limit     float64
	Message   string
}

// The gates.
const (
	Errors    = "error-rate"
	Nonfinite = "nonfinite-scores"
	Constant  = "constant-scores"
	Anomalies = "anomaly-rate"
	Scores    = "score-distribution"
	Latency   = "latency"
)

const gates = 7 // with Shadow

// earliest is how many rows the new revision must have scored before anything fails.
const earliest = 50

// Look is a time at which gates are evaluated. Many looks find differences by chance;
// the k-th may therefore err with probability alpha*6/(pi*k)^2 only, which adds up to
// alpha however many there are. It holds without any assumption on how the looks depend
// on each other.
type Look struct {
	K int   // 1 for the first one
	N int64 // rows of the new revision at the last look
}

// Due reports whether there is enough new to look again: looks are spaced by a fifth.
func (l Look) Due(n int64) bool { return n >= earliest && (l.N == 0 || n*5 >= l.N*6) }

// Next is the following look, at n rows.
func (l Look) Next(n int64) Look { return Look{K: l.K + 1, N: n} }

// Evaluate compares a new revision with the stable one at look k, by the gates that are
// asked for.
func Evaluate(l Limits, stable, update Sample, k int) []Verdict {
	alpha := l.Alpha / gates * 6 / math.Pow(math.Pi*float64(max(1, k)), 2)
	scores := inCommon(stable, update)
	all := []Verdict{
		failures(stable, update, l.Errors, alpha),
		proportion(Nonfinite, update.Nonfinite, update.Rows-update.Failed, stable.Nonfinite, stable.Rows-stable.Failed, l.Nonfinite, alpha, false),
		constant(stable, update, scores, alpha),
		proportion(Anomalies, update.Anomalies, update.Rows-update.Failed, stable.Anomalies, stable.Rows-stable.Failed, l.Anomalies, alpha, true),
		distribution(stable, update, scores, l.PSI, alpha),
		latency(stable.Durations, update.Durations, l.Latency, alpha),
	}
	all = slices.DeleteFunc(all, func(v Verdict) bool { return slices.Contains(l.Skip, v.Gate) })
	for i := range all {
		v := &all[i]
		few := min(update.Size(), stable.Size())
		if v.Result == Fail && update.Size() < earliest {
			v.Result = Inconclusive
		}
		if v.Result == Inconclusive && few >= l.MinSamples && v.N > 0 {
			v.Message += ": that may be chance; more samples will tell"
		}
		if (v.Result == Pass || v.Result == CannotTell) && few < l.MinSamples {
			v.Result, v.Message = Inconclusive, fmt.Sprintf("%d of %d samples", few, l.MinSamples)
		}
	}
	return all
}

// Together is the result of all verdicts. Those of gates that do not apply count for
// nothing.
func Together(all []Verdict) (Result, string) {
	for _, r := range []Result{Fail, Error, CannotTell, Inconclusive} {
		for _, v := range all {
			if v.Result == r {
				return r, fmt.Sprintf("%s: %s", v.Gate, v.Message)
			}
		}
	}
	return Pass, ""
}

// failures compares the shares of requests that failed as a whole, and of rows that failed
// by themselves: a batch half of whose rows fail is answered. Each may err with half of
// alpha; the worse one speaks.
func failures(stable, update Sample, limit, alpha float64) Verdict {
	requests := proportion(Errors, update.Errors, update.Errors+update.Requests, stable.Errors, stable.Errors+stable.Requests, limit, alpha/2, false)
	requests.Message = "requests: " + requests.Message
	rows := proportion(Errors, update.Failed, update.Rows, stable.Failed, stable.Rows, limit, alpha/2, false)
	rows.Message = "rows: " + rows.Message
	severity := func(r Result) int { return slices.Index([]Result{Pass, Inconclusive, Fail}, r) }
	switch a, b := severity(requests.Result), severity(rows.Result); {
	case a > b, a == b && requests.Statistic >= rows.Statistic:
		return requests
	}
	return rows
}

// proportion compares shares. The difference's standard error is that of Agresti and
// Caffo, The American Statistician 54 (2000): one success and one failure are added to
// each side, which keeps it honest near 0 and 1. The pooled one is taken where it is
// larger: a side without events has next to no variance of its own.
func proportion(name string, x, n, y, m int64, limit, alpha float64, both bool) Verdict {
	v := Verdict{Gate: name, Result: Pass, N: n, Limit: limit}
	if n == 0 || m == 0 {
		v.Result, v.Message = Inconclusive, "one side has counted nothing"
		return v
	}
	v.Statistic = float64(x)/float64(n) - float64(y)/float64(m)
	p, q := float64(x+1)/float64(n+2), float64(y+1)/float64(m+2)
	pooled := float64(x+y+2) / float64(n+m+4)
	se := math.Max(math.Sqrt(p*(1-p)/float64(n+2)+q*(1-q)/float64(m+2)), math.Sqrt(pooled*(1-pooled)*(1/float64(n+2)+1/float64(m+2))))
	d, a := p-q, alpha
	if both {
		d, a = math.Abs(d), alpha/2
	}
	v.Message = fmt.Sprintf("%.4g against %.4g", float64(x)/float64(n), float64(y)/float64(m))
	effect := v.Statistic
	switch {
	case effect <= limit && (!both || -effect <= limit):
	case !both && y < rare:
		v.Result = certainty(atLeast(x, n, q+limit), atLeast(x, n, q), a)
	default:
		v.Result = certainty(0.5*math.Erfc((d-limit)/se/math.Sqrt2), 0.5*math.Erfc(d/se/math.Sqrt2), a)
	}
	return v
}

// suspicion is the probability below which a difference beyond its limit keeps a gate
// from passing, although it may be chance yet.
const suspicion = 0.05

// certainty is what a difference means that is seen to be beyond its limit: chance would
// bring it about with probability atLimit where it is at its limit in truth, and with
// probability atNone where there is none.
func certainty(atLimit, atNone, alpha float64) Result {
	switch {
	case atLimit < alpha:
		return Fail
	case atNone < suspicion:
		return Inconclusive
	}
	return Pass
}

// rare is how few events leave no room for the normal approximation.
const rare = 5

// atLeast is the probability of x or more events of probability p in n: the upper tail
// of the binomial distribution, by the regularised incomplete beta function (Abramowitz
// and Stegun, 26.5.24). For n up to 1e9 it is right to five digits.
func atLeast(x, n int64, p float64) float64 {
	switch {
	case p >= 1 || x <= 0:
		return 1
	case p <= 0 || x > n:
		return 0
	}
	// The library's function loses all digits near the middle of a wide distribution.
	const wide, near = 1e5, 3
	variance := float64(n) * p * (1 - p)
	if z := (float64(x) - 0.5 - float64(n)*p) / math.Sqrt(variance); variance > wide && math.Abs(z) < near {
		return wideTail(z, p, variance)
	}
	return min(1, max(0, mathext.RegIncBeta(float64(x), float64(n-x+1), p)))
}

// wideTail is the upper tail of a binomial distribution from z deviations on, which is half an event
// below a whole number of them: Edgeworth's expansion to the second order, with the term
// for a lattice (Feller, An Introduction to Probability Theory 2, XVI.4).
func wideTail(z, p, variance float64) float64 {
	skew, excess := (1-2*p)/math.Sqrt(variance), (1-6*p*(1-p))/variance
	density := math.Exp(-z*z/2) / math.Sqrt(2*math.Pi)
	z2 := z * z
	first := skew / 6 * (z2 - 1)
	second := excess/24*z*(z2-3) + skew*skew/72*z*(z2*z2-10*z2+15) - z/(24*variance)
	return 0.5*math.Erfc(z/math.Sqrt2) + density*(first+second)
}

// latency asks whether more than a twentieth of the new revision's answers took longer
// than the stable one's 95th percentile and what is allowed beyond it.
func latency(stable, update api.Histogram, limit, alpha float64) Verdict {
	n, m := Total(stable), Total(update)
	v := Verdict{Gate: Latency, Result: Pass, N: int64(m), Limit: limit}
	if n == 0 || m == 0 || len(stable.Edges) == 0 || len(stable.Counts) != len(stable.Edges)+1 || !sameEdges(stable, update) {
		v.Result, v.Message = Inconclusive, "one side has counted nothing"
		return v
	}
	p95, u95 := percentile(stable, 0.95), percentile(update, 0.95)
	v.Statistic = u95/p95 - 1
	v.Message = fmt.Sprintf("95th percentile %.4g s against %.4g s", u95, p95)
	slow := above(update, p95*(1+limit))
	if v.Statistic > limit && n >= earliest {
		p := 0.5 * math.Erfc((slow-0.05*m)/math.Sqrt(0.05*0.95*m)/math.Sqrt2)
		v.Result = certainty(p, p, alpha)
	}
	return v
}

// above counts what lies above x, with a share of the bin that x is in: durations are
// spread over a bin as their logarithms are.
func above(h api.Histogram, x float64) float64 {
	sum := 0.0
	for i, c := range h.Counts {
		low, high := bounds(h, i)
		switch {
		case x <= low:
			sum += float64(c)
		case x < high:
			sum += float64(c) * math.Log(high/x) / math.Log(high/low)
		}
	}
	return sum
}

// bounds are a bin's. The first one begins at a tenth of its edge, and the last one ends
// at ten times its own.
func bounds(h api.Histogram, i int) (low, high float64) {
	switch {
	case i == 0:
		return h.Edges[0] / 10, h.Edges[0]
	case i == len(h.Edges):
		return h.Edges[i-1], 10 * h.Edges[i-1]
	}
	return h.Edges[i-1], h.Edges[i]
}

// percentile interpolates within the bin.
func percentile(h api.Histogram, p float64) float64 {
	want, seen := p*Total(h), 0.0
	for i, c := range h.Counts {
		if seen+float64(c) < want || c == 0 {
			seen += float64(c)
			continue
		}
		low, high := bounds(h, i)
		return low * math.Pow(high/low, (want-seen)/float64(c))
	}
	return 0
}

// Total is how many a histogram has counted.
func Total(h api.Histogram) float64 {
	sum := 0.0
	for _, c := range h.Counts {
		sum += float64(c)
	}
	return sum
}

func sameEdges(a, b api.Histogram) bool {
	if len(a.Counts) == 0 || len(b.Counts) == 0 {
		return true
	}
	_, same := plus(a, b, 1)
	return same
}

// quantile is that of the standard normal distribution.
func quantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// Ratio compares how requests were split with how they should have been: a chi-square
// test of one degree of freedom at alpha. It reports whether they differ, and the
// statistic.
func Ratio(update, stable int64, weight int32, alpha float64) (differ bool, chi2 float64) {
	n := float64(update + stable)
	want := n * float64(weight) / 100
	if want == 0 || want == n {
		return false, 0
	}
	chi2 = math.Pow(float64(update)-want, 2)/want + math.Pow(float64(stable)-(n-want), 2)/(n-want)
	z := quantile(1 - alpha/2)
	return chi2 > z*z, chi2
}
