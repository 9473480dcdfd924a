// Package stats holds the formulas that several parts of the project need.
//
// It knows nothing of models or requests.
package stats

import (
	"math"
	"sort"

	"gonum.org/v1/gonum/mathext"
)

// CountAtMost is the number of values of the ascending slice that are <= x.
func CountAtMost(sorted []float64, x float64) int {
	return sort.Search(len(sorted), func(i int) bool { return sorted[i] > x })
}

// ExCeeD is the probability that a row whose score is at or above count of the n
// training scores is an anomaly, given the share gamma of anomalies in training
// (Perini, Vercruyssen, Davis 2020, as PyOD's predict_confidence computes it):
//
//	p = (1 + count) / (n + 2), m = trunc(n gamma), I_p(n - m + 1, m)
//
// and 0 where m is 0. The confidence in the answer "normal" is 1 minus it.
func ExCeeD(n, count int, gamma float64) float64 {
	m := int(float64(n) * gamma)
	if m <= 0 {
		return 0
	}
	p := float64(1+count) / float64(n+2)
	return mathext.RegIncBeta(float64(n-m+1), float64(m), p)
}

// Unify maps a score by the error function (Kriegel et al. 2011):
// clip(erf((s - mean) / (std sqrt 2)), 0, 1).
func Unify(s, mean, std float64) float64 {
	return Clip(math.Erf((s - mean) / (std * math.Sqrt2)))
}

// Linear maps min..max to 0..1 and clips.
func Linear(s, low, high float64) float64 { return Clip((s - low) / (high - low)) }

// Clip limits v to 0..1.
func Clip(v float64) float64 { return min(max(v, 0), 1) }

// MeanStd returns the mean and the population deviation.
func MeanStd(v []float64) (mean, std float64) {
	for _, x := range v {
		mean += x
	}
	mean /= float64(len(v))
	for _, x := range v {
		std += (x - mean) * (x - mean)
	}
	return mean, math.Sqrt(std / float64(len(v)))
}

// Agree reports whether two scores are the same within tolerance, relative to
// the larger of 1 and the expected score. Two NaN agree.
func Agree(got, want, tolerance float64) bool {
	if math.IsNaN(got) || math.IsNaN(want) {
		return math.IsNaN(got) && math.IsNaN(want)
	}
	return got == want || math.Abs(got-want) <= tolerance*math.Max(1, math.Abs(want))
}
