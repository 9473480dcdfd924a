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
