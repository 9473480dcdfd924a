package gate

import (
	"fmt"
	"math"
	"slices"
)

// Shadow is the gate that compares both revisions' scores of the same rows.
const Shadow = "shadow-disagreement"

// Pair has one row's scores by both revisions, oriented so that larger means more
// anomalous. A score of NaN by the new revision means that it failed the row.
type Pair struct {
	Stable, Update               float64
	StableAnomaly, UpdateAnomaly bool
}

// Paired compares the revisions on the same rows at look k: how many rows only one
// of them calls an anomaly, and how similarly they rank the rows.
//
// A score test compares the share of disagreement with its limit. McNemar's
// statistic (Psychometrika 12, 1947) with Edwards' correction shows whether the
// disagreement is one-sided. Fisher's transformation compares Spearman's coefficient
// with its limit, with the variance 1.06/(n-3) of Fieller, Hartley and Pearson
// (Biometrika 44, 1957).
func Paired(l Limits, pairs []Pair, k int) Verdict {
	n := float64(len(pairs))
	v := Verdict{Gate: Shadow, Result: Pass, N: int64(len(pairs)), Limit: l.Disagree}
	if len(pairs) < earliest {
		v.Result, v.Message = Inconclusive, fmt.Sprintf("%d of %d rows to replay", len(pairs), earliest)
		return v
	}
	alpha := l.Alpha / gates * 6 / math.Pow(math.Pi*float64(max(1, k)), 2)
	var more, less, failed float64 // anomalies of the new revision only, and of the stable one only
	var a, b []float64
	for _, p := range pairs {
		switch {
		case math.IsNaN(p.Update):
			failed++
			continue
		case p.UpdateAnomaly && !p.StableAnomaly:
			more++
		case p.StableAnomaly && !p.UpdateAnomaly:
			less++
		}
		a, b = append(a, p.Stable), append(b, p.Update)
	}
	disagree := more + less + failed
	share := disagree / n
	rho := spearman(a, b)
	v.Statistic = share
	mcnemar := 0.0
	if more+less > 0 {
		mcnemar = math.Pow(math.Max(0, math.Abs(more-less)-1), 2) / (more + less)
	}
	v.Message = fmt.Sprintf("%.0f of %d rows judged differently (%.0f more, %.0f fewer, %.0f failed; McNemar %.2f), rank correlation %.3f, top tenth shared %.0f %%",
		disagree, len(pairs), more, less, failed, mcnemar, rho, 100*overlap(a, b))
	if share > l.Disagree {
		p := atLeast(int64(disagree), int64(len(pairs)), l.Disagree)
		v.Result = certainty(p, p, alpha/2)
	}
	if m := float64(len(a)); rho < l.Rank && m > 3 {
		z := (math.Atanh(math.Min(l.Rank, 0.999999)) - math.Atanh(math.Max(rho, -0.999999))) * math.Sqrt((m-3)/1.06)
		p := 0.5 * math.Erfc(z/math.Sqrt2)
		if r := certainty(p, p, alpha/2); r == Fail || v.Result == Pass {
			v.Result, v.Statistic, v.Limit = r, rho, l.Rank
		}
	}
	return v
}

// spearman returns the rank correlation coefficient. Ties have their mean rank. If
// all of a are equal there is no order to agree with, and it returns 1. If only b's
// are all equal, it returns 0.
func spearman(a, b []float64) float64 {
	x, y := ranks(a), ranks(b)
	mean := float64(len(a)+1) / 2
	var xy, xx, yy float64
	for i := range x {
		dx, dy := x[i]-mean, y[i]-mean
		xy += dx * dy
		xx += dx * dx
		yy += dy * dy
	}
	switch {
	case xx == 0:
		return 1
	case yy == 0:
		return 0
	}
	return xy / math.Sqrt(xx*yy)
}

func ranks(v []float64) []float64 {
	order := ascending(v)
	out := make([]float64, len(v))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && v[order[j]] == v[order[i]] {
			j++
		}
		for k := i; k < j; k++ {
			out[order[k]] = float64(i+j+1) / 2
		}
		i = j
	}
	return out
}

func ascending(v []float64) []int {
	order := make([]int, len(v))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch {
		case v[i] < v[j]:
			return -1
		case v[i] > v[j]:
			return 1
		}
		return 0
	})
	return order
}

// overlap returns the share of the tenth of rows that one side scores highest which
// is also in the other's highest tenth.
func overlap(a, b []float64) float64 {
	k := len(a) / 10
	if k == 0 {
		return 1
	}
	top := map[int]bool{}
	for _, i := range ascending(a)[len(a)-k:] {
		top[i] = true
	}
	shared := 0
	for _, i := range ascending(b)[len(b)-k:] {
		if top[i] {
			shared++
		}
	}
	return float64(shared) / float64(k)
}
