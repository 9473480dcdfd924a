package gate

import (
	"fmt"
	"slices"
	"strings"
)

// comparing are the gates that only compare: they have no opinion of one revision alone.
func comparing() []string { return []string{Anomalies, Scores, Latency, Shadow} }

// Alone judges a new revision for itself, because the stable one is broken: errors, scores
// that are not finite and scores that are all the same still fail. The gates that only
// compare are Skipped.
func Alone(l Limits, update Sample, k int, why string) []Verdict {
	healthy := update
	healthy.Errors, healthy.Failed, healthy.Nonfinite = 0, 0, 0
	healthy.Requests = update.Requests + update.Errors
	if update.Gateway != nil {
		healthy.Gateway = &Gateway{Requests: update.Gateway.Requests, Durations: update.Gateway.Durations}
	}
	all := Evaluate(l, healthy, update, k)
	for i := range all {
		switch v := &all[i]; {
		case v.Gate == Constant:
			*v = constantAlone(l, update)
		case slices.Contains(comparing(), v.Gate):
			*v = Verdict{Gate: v.Gate, Result: Skipped, N: v.N, Limit: v.Limit, Message: "not compared: " + why}
		}
	}
	return all
}

// constantAlone fails if a revision gives all rows the same score.
func constantAlone(l Limits, update Sample) Verdict {
	v := Verdict{Gate: Constant, Result: Pass, N: update.Rows, Limit: 1}
	c := inCommon(update, update)
	switch {
	case update.Size() < l.MinSamples:
		v.Result, v.Message = Inconclusive, fmt.Sprintf("%d of %d samples", update.Size(), l.MinSamples)
	case update.Span != nil && update.Span.Low == update.Span.High:
		v.Result, v.Statistic, v.Message = Fail, 1, fmt.Sprintf("all scores are %.6g", update.Span.Low)
	case c == nil || c.m == 0 || slices.Max(c.update) < c.m: // they differ, or nobody knows how
		v.Message = "not all scores are the same"
	case update.Span == nil:
		v.Result, v.Statistic, v.Message = CannotTell, 1, "all scores lie in one bin"
	}
	return v
}

// Odd says why the stable revision is the odd one of the two, or returns "": it would fail
// a gate of health if the new revision were the stable one.
func Odd(l Limits, stable, update Sample, k int) string {
	var out []string
	for _, v := range Evaluate(l, update, stable, k) {
		if v.Result == Fail && !slices.Contains(comparing(), v.Gate) {
			out = append(out, fmt.Sprintf("%s: %s", v.Gate, strings.ReplaceAll(v.Message, "stable's", "the new one's")))
		}
	}
	return strings.Join(out, ", ")
}

// OddPairs says why the stable revision is the odd one on replayed rows, or returns "": it
// has given all of them the same score, and the new revision has not.
func OddPairs(pairs []Pair) string {
	if len(pairs) < earliest {
		return ""
	}
	differ := func(of func(Pair) float64) bool {
		return slices.ContainsFunc(pairs, func(p Pair) bool { return of(p) != of(pairs[0]) })
	}
	if differ(func(p Pair) float64 { return p.Stable }) || !differ(func(p Pair) float64 { return p.Update }) {
		return ""
	}
	return fmt.Sprintf("it gave all of %d replayed rows the same score", len(pairs))
}

// Against replaces failures of comparisons with an odd stable revision by CannotTell: which
// of the two is right, somebody has to say.
func Against(odd string, verdicts []Verdict) []Verdict {
	if odd == "" {
		return verdicts
	}
	out := slices.Clone(verdicts)
	for i := range out {
		if v := &out[i]; v.Result == Fail && slices.Contains(comparing(), v.Gate) {
			v.Result = CannotTell
			v.Message = fmt.Sprintf("the stable version is the odd one (%s): %s; if the new one is right, run `deploy resume --full`, or deploy it with --replace-broken", odd, v.Message)
		}
	}
	return out
}
