// Package stats holds the formulas that several parts of the project need.
//
// It knows nothing of models or requests.
package stats

import (
	"sort"

	"gonum.org/v1/gonum/mathext"
)

// CountAtMost returns how many values of the ascending slice are <= x.
func CountAtMost(sorted []float64, x float64) int {
	return sort.Search(len(sorted), func(i int) bool { return sorted[i] > x })
}

// CountBelow returns how many values of the ascending slice are < x.
func CountBelow(sorted []float64, x float64) int {
	return sort.Search(len(sorted), func(i int) bool { return sorted[i] >= x })
}

// Midrank returns the mid-distribution function of the ascending slice at x (Parzen
// 2004, "Quantile Probability and Statistical Data Modeling", Statistical Science 19):
// the share of values below x and half of the share of values equal to x. It is
// scipy.stats.percentileofscore with kind="mean", divided by 100.
//
//	(#{value < x} + #{value <= x}) / 2n
func Midrank(sorted []float64, x float64) float64 {
	return float64(CountBelow(sorted, x)+CountAtMost(sorted, x)) / float64(2*len(sorted))
}

// LargestTie returns how many values of the ascending slice are equal to its commonest
// value, and that value; 0 for an empty slice.
func LargestTie(sorted []float64) (most int, value float64) {
	run := 0
	for i, v := range sorted {
		if i > 0 && v != sorted[i-1] {
			run = 0
		}
		if run++; run > most {
			most, value = run, v
		}
	}
	return most, value
}

// ExCeeD returns the probability that a row is an anomaly if its score is at or
// above count of the n training scores, given the share gamma of anomalies in
// training (Perini, Vercruyssen, Davis 2020, as PyOD's predict_confidence computes
// it):
//
//	p = (1 + count) / (n + 2), m = trunc(n gamma), I_p(n - m + 1, m)
//
// and 0 if m is 0. The confidence in the answer "normal" is 1 minus it.
func ExCeeD(n, count int, gamma float64) float64 {
	m := int(float64(n) * gamma)
	if m <= 0 {
		return 0
	}
	p := float64(1+count) / float64(n+2)
	return mathext.RegIncBeta(float64(n-m+1), float64(m), p)
}
