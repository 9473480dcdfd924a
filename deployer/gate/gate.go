package gate

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"

	"github.com/pynomaly/pynomaly-runtime/api"
)

// Result is the outcome of a gate.
type Result string

// The results.
const (
	Pass         Result = "Pass"
	Fail         Result = "Fail"
	Inconclusive Result = "Inconclusive" // too few samples
	CannotTell   Result = "CannotTell"   // no number of samples would show a difference
	Skipped      Result = "Skipped"      // the gate does not apply to these revisions
	Error        Result = "Error"        // the counters could not be read
)

// Limits bound how much a new revision may differ. A gate fails only if the
// difference exceeds its limit and chance does not explain it.
type Limits struct {
	MinSamples int64    // rows that each side needs before a comparison can pass
	Errors     float64  // difference in the share of failed requests, and of failed rows
	Anomalies  float64  // difference in the share of anomalies
	Nonfinite  float64  // difference in the share of scores that are not finite
	Latency    float64  // relative increase of the 95th percentile
	Slower     float64  // its increase in seconds, below which no version is too slow
	PSI        float64  // population stability index of the scores
	Disagree   float64  // share of replayed rows that the revisions judge differently
	Rank       float64  // least rank correlation of the scores of replayed rows
	Alpha      float64  // probability of a false alarm, over all gates and looks
	Skip       []string // names of gates to leave out
}

// Defaults returns limits for a model that should behave about like the one before.
func Defaults() Limits {
	return Limits{MinSamples: 1000, Errors: 0.01, Anomalies: 0.05, Nonfinite: 0.001, Latency: 1, Slower: 0.005, PSI: 0.25, Disagree: 0.05, Rank: 0.8, Alpha: 0.01}
}

// Verdict is a gate's result and the numbers behind it.
type Verdict struct {
	Gate      string
	Result    Result
	N         int64 // samples of the new revision
	Statistic float64
	Limit     float64
	Message   string
}

// The names of the gates.
const (
	Errors    = "error-rate"
	Nonfinite = "nonfinite-scores"
	Constant  = "constant-scores"
	Anomalies = "anomaly-rate"
	Scores    = "score-distribution"
	Latency   = "latency"
)

const gates = 7 // including Shadow

// earliest is how many rows the new revision must have before a gate can fail.
const earliest = 50

// Look is one evaluation of the gates. Many looks find differences by chance. The
// k-th look may therefore err only with probability alpha*6/(pi*k)^2. These
// probabilities add up to alpha for any number of looks, however the looks depend on
// each other.
type Look struct {
	K int   // number of the look, from 1
	N int64 // rows of the new revision at the last look
}

// Due reports whether n rows suffice for another look: a fifth more than at the last
// one.
func (l Look) Due(n int64) bool { return n >= earliest && (l.N == 0 || n*5 >= l.N*6) }

// Next returns the look at n rows that follows l.
func (l Look) Next(n int64) Look { return Look{K: l.K + 1, N: n} }

// Evaluate compares a new revision with the stable one at look k. It leaves out the
// gates in l.Skip.
func Evaluate(l Limits, stable, update Sample, k int) []Verdict {
	alpha := l.Alpha / gates * 6 / math.Pow(math.Pi*float64(max(1, k)), 2)
	scores := inCommon(stable, update)
	all := []Verdict{
		failures(stable, update, l.Errors, alpha),
		proportion(Nonfinite, update.Nonfinite, update.Rows-update.Failed, stable.Nonfinite, stable.Rows-stable.Failed, l.Nonfinite, alpha, false),
		constant(stable, update, scores, alpha),
		proportion(Anomalies, update.Anomalies, update.Rows-update.Failed, stable.Anomalies, stable.Rows-stable.Failed, l.Anomalies, alpha, true),
		distribution(stable, update, scores, l.PSI, alpha),
		slower(stable, update, l, alpha),
	}
	all = slices.DeleteFunc(all, func(v Verdict) bool { return slices.Contains(l.Skip, v.Gate) })
	for i := range all {
		v := &all[i]
		few := min(update.Size(), stable.Size())
		if v.Result == Fail && update.Seen() < earliest {
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

// Together returns the overall result of the verdicts and the reason. Skipped gates
// do not count.
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

// failures compares the share of requests that failed as a whole, the share of rows
// that failed alone – a batch is answered even if half of its rows fail – and, if
// somebody asks the gateway, the share of requests that failed there. Each comparison
// may err with its part of alpha, and the worst one is the verdict.
func failures(stable, update Sample, limit, alpha float64) Verdict {
	parts := 2.0
	if update.Gateway != nil && stable.Gateway != nil {
		parts++
	}
	requests := proportion(Errors, update.Errors, update.Errors+update.Requests, stable.Errors, stable.Errors+stable.Requests, limit, alpha/parts, false)
	requests.Message = "requests: " + requests.Message
	if n := update.Unknown; n > 0 {
		requests.Message += fmt.Sprintf("; %d of %d failures name a version that the new revision does not serve", n, update.Errors)
	}
	rows := proportion(Errors, update.Failed, update.Rows, stable.Failed, stable.Rows, limit, alpha/parts, false)
	rows.Message = "rows: " + rows.Message
	worst := worse(requests, rows)
	if g, h := update.Gateway, stable.Gateway; parts > 2 {
		at := proportion(Errors, g.Errors, g.Requests, h.Errors, h.Requests, limit, alpha/parts, false)
		at.Message = "at the gateway: " + at.Message
		worst = worse(worst, at)
	}
	return worst
}

// worse returns the worse of two verdicts of one gate.
func worse(a, b Verdict) Verdict {
	severity := func(r Result) int { return slices.Index([]Result{Pass, Inconclusive, Fail}, r) }
	switch x, y := severity(a.Result), severity(b.Result); {
	case x > y, x == y && a.Statistic >= b.Statistic:
		return a
	}
	return b
}

// slower compares durations as the hosts and, if somebody asks it, as the gateway
// counted them. Each comparison may err with its part of alpha, and the worse one is
// the verdict.
func slower(stable, update Sample, l Limits, alpha float64) Verdict {
	if update.Gateway == nil || stable.Gateway == nil {
		return latency(stable.Durations, update.Durations, l, alpha)
	}
	at := latency(stable.Gateway.Durations, update.Gateway.Durations, l, alpha/2)
	at.Message = "at the gateway: " + at.Message
	if len(update.Gateway.Durations.Counts) == 0 && len(stable.Gateway.Durations.Counts) == 0 { // it measures none
		return latency(stable.Durations, update.Durations, l, alpha)
	}
	return worse(latency(stable.Durations, update.Durations, l, alpha/2), at)
}

// proportion compares shares. The standard error of their difference is that of
// Agresti and Caffo, The American Statistician 54 (2000), which adds a success and a
// failure to each side and so holds near 0 and 1. The pooled error is used where it
// is larger, because a side without events has almost no variance.
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

// suspicion is the probability below which a difference beyond its limit keeps a
// gate from passing, although the difference may still be chance.
const suspicion = 0.05

// certainty returns what an observed difference beyond its limit means. Chance
// produces it with probability atLimit if the true difference is at the limit, and
// with probability atNone if there is none.
func certainty(atLimit, atNone, alpha float64) Result {
	switch {
	case atLimit < alpha:
		return Fail
	case atNone < suspicion:
		return Inconclusive
	}
	return Pass
}

// rare is the number of events below which the normal approximation does not hold.
const rare = 5

// atLeast returns the probability of x or more events of probability p in n trials:
// the upper tail of the binomial distribution, by the regularised incomplete beta
// function (Abramowitz and Stegun, 26.5.24). It is correct to five digits for n up
// to 1e9.
func atLeast(x, n int64, p float64) float64 {
	switch {
	case p >= 1 || x <= 0:
		return 1
	case p <= 0 || x > n:
		return 0
	}
	// The library's function loses all digits near the middle of a wide
	// distribution.
	const wide, near = 1e5, 3
	variance := float64(n) * p * (1 - p)
	if z := (float64(x) - 0.5 - float64(n)*p) / math.Sqrt(variance); variance > wide && math.Abs(z) < near {
		return wideTail(z, p, variance)
	}
	return min(1, max(0, mathext.RegIncBeta(float64(x), float64(n-x+1), p)))
}

// wideTail returns the upper tail of a binomial distribution from z deviations on,
// where z lies half an event below a whole number of events. It uses Edgeworth's
// expansion to the second order with the term for a lattice (Feller, An Introduction
// to Probability Theory 2, XVI.4).
func wideTail(z, p, variance float64) float64 {
	skew, excess := (1-2*p)/math.Sqrt(variance), (1-6*p*(1-p))/variance
	density := math.Exp(-z*z/2) / math.Sqrt(2*math.Pi)
	z2 := z * z
	first := skew / 6 * (z2 - 1)
	second := excess/24*z*(z2-3) + skew*skew/72*z*(z2*z2-10*z2+15) - z/(24*variance)
	return 0.5*math.Erfc(z/math.Sqrt2) + density*(first+second)
}

// latency tests whether more than a twentieth of the new revision's answers took
// longer than the stable revision's 95th percentile plus the limit. Where that is a
// fraction of a millisecond, a busy machine multiplies it: so the limit is at least
// l.Slower.
func latency(stable, update api.Histogram, l Limits, alpha float64) Verdict {
	n, m := Total(stable), Total(update)
	v := Verdict{Gate: Latency, Result: Pass, N: int64(m), Limit: l.Latency}
	if n == 0 || m == 0 || len(stable.Edges) == 0 || len(stable.Counts) != len(stable.Edges)+1 || !sameEdges(stable, update) {
		v.Result, v.Message = Inconclusive, "one side has counted nothing"
		return v
	}
	p95, u95 := percentile(stable, 0.95), percentile(update, 0.95)
	v.Statistic = u95/p95 - 1
	v.Message = fmt.Sprintf("95th percentile %.4g s against %.4g s", u95, p95)
	most := p95 + max(p95*l.Latency, l.Slower)
	if v.Statistic > l.Latency && u95 <= most {
		v.Message += fmt.Sprintf(", not %g s more", l.Slower)
	}
	slow := above(update, most)
	if u95 > most && n >= earliest {
		p := 0.5 * math.Erfc((slow-0.05*m)/math.Sqrt(0.05*0.95*m)/math.Sqrt2)
		v.Result = certainty(p, p, alpha)
	}
	return v
}

// above returns how many durations exceed x. The bin that contains x counts in part:
// its durations are taken to be spread evenly by their logarithms.
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

// bounds returns the bounds of a bin. The first bin begins at a tenth of its edge,
// and the last one ends at ten times its edge.
func bounds(h api.Histogram, i int) (low, high float64) {
	switch {
	case i == 0:
		return h.Edges[0] / 10, h.Edges[0]
	case i == len(h.Edges):
		return h.Edges[i-1], 10 * h.Edges[i-1]
	}
	return h.Edges[i-1], h.Edges[i]
}

// P95 returns the 95th percentile of durations in seconds, or 0 if there are none.
func P95(h api.Histogram) float64 {
	if Total(h) == 0 || len(h.Edges) == 0 || len(h.Counts) != len(h.Edges)+1 {
		return 0
	}
	return percentile(h, 0.95)
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

// Total returns how many values a histogram has counted.
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

// quantile returns a quantile of the standard normal distribution.
func quantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// Ratio compares how requests were split with the planned weight in percent, by a
// chi-square test of one degree of freedom at alpha. It returns whether they differ
// and the statistic.
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
