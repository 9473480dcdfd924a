package model

import (
	"math"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// agreement decides whether two scores of a model agree: whether their distance is
// at most a share of the spread of the model's scores.
type agreement struct {
	tolerance float64 // that share; 0: only equal scores agree
	spread    float64 // the scores' interquartile range, or their whole range; 0: unknown
	middle    float64 // of the scores
	rounding  float64 // the share of a score that its number format loses
}

// newAgreement takes the spread from the first sample of scores whose interquartile
// range is not 0, or else from the first whose range is not 0.
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

// apart returns the distance of two numbers, at most the largest float64.
func apart(a, b float64) float64 { return min(math.Abs(a-b), math.MaxFloat64) }

// scale returns what a difference from a score is measured by: the spread or, for a
// score far out, its distance from the middle. Without a spread it is the score
// itself.
func (a agreement) scale(want float64) float64 {
	if a.spread == 0 {
		return math.Abs(want)
	}
	return max(a.spread, apart(want, a.middle))
}

// allowed returns how far a score may be from the expected one.
func (a agreement) allowed(want float64) float64 {
	if a.tolerance == 0 {
		return 0
	}
	return a.tolerance*a.scale(want) + a.rounding*math.Abs(want)
}

// agree reports whether a score agrees with the expected one. Two NaN agree.
func (a agreement) agree(got, want float64) bool {
	if math.IsNaN(got) || math.IsNaN(want) {
		return math.IsNaN(got) && math.IsNaN(want)
	}
	return got == want || (finite(want) && math.Abs(got-want) <= a.allowed(want))
}
