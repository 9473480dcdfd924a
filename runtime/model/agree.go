package model

import (
	"math"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// agreement says when two scores of a model are the same: when they are no further apart
// than a share of how far the model's scores are apart.
type agreement struct {
	tolerance float64 // that share; 0: only equal scores agree
	spread    float64 // the scores' interquartile range, or their whole one; 0: they do not say
	middle    float64 // of the scores
	rounding  float64 // share of a score that its number format loses
}

// newAgreement takes the spread from the first of the samples of scores, each the
// model's, whose middle half has one, else from the first that has one at all.
func newAgreement(m *manifest.Manifest, samples ...[]float64) agreement {
	a := agreement{tolerance: m.GoldenTolerance(), rounding: 0x1p-50}
	if m.Backend == manifest.BackendONNX || slices.ContainsFunc(m.Features, func(f manifest.Feature) bool { return f.DType == sdk.Float32 }) {
		a.rounding = 0x1p-22
	}
	sorted := make([][]float64, 0, len(samples))
	for _, scores := range samples {
		if s := slices.DeleteFunc(slices.Clone(scores), func(v float64) bool { return !finite(v) }); len(s) > 0 {
			slices.Sort(s)
			sorted = append(sorted, s)
		}
	}
	half := func(s []float64) float64 { return apart(s[len(s)/4], s[3*len(s)/4]) }
	whole := func(s []float64) float64 { return apart(s[0], s[len(s)-1]) }
	for _, width := range []func([]float64) float64{half, whole} {
		for _, s := range sorted {
			if a.spread = width(s); a.spread > 0 {
				a.middle = s[len(s)/2]
				return a
			}
		}
	}
	return a
}

// apart is the distance of two numbers, at most the largest number.
func apart(a, b float64) float64 { return min(math.Abs(a-b), math.MaxFloat64) }

// scale is what a difference to a score is measured by: the spread, for a score that lies
// further off its distance from the middle, and the score itself where there is no spread.
func (a agreement) scale(want float64) float64 {
	if a.spread == 0 {
		return math.Abs(want)
	}
	return max(a.spread, apart(want, a.middle))
}

// allowed is how far a score may be from the one that is wanted.
func (a agreement) allowed(want float64) float64 {
	if a.tolerance == 0 {
		return 0
	}
	return a.tolerance*a.scale(want) + a.rounding*math.Abs(want)
}

// agree reports whether a score is the one that is wanted. Two NaN agree.
func (a agreement) agree(got, want float64) bool {
	if math.IsNaN(got) || math.IsNaN(want) {
		return math.IsNaN(got) && math.IsNaN(want)
	}
	return got == want || (finite(want) && math.Abs(got-want) <= a.allowed(want))
}
