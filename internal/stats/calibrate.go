package stats

import "math"

// The calibrations take finite scores of any size: a difference that overflows is taken of
// quarters, and squares of numbers near 1.

// Unify maps a score by the error function (Kriegel et al. 2011):
// clip(erf((s - mean) / (std sqrt 2)), 0, 1). std is above 0.
func Unify(s, mean, std float64) float64 {
	gap, width := s-mean, std*math.Sqrt2
	if math.IsInf(gap, 0) || math.IsInf(width, 0) {
		gap, width = s/4-mean/4, std/4*math.Sqrt2
	}
	return Clip(math.Erf(gap / width))
}

// Linear maps low..high to 0..1 and clips. high is above low.
func Linear(s, low, high float64) float64 {
	gap, width := s-low, high-low
	if math.IsInf(gap, 0) || math.IsInf(width, 0) {
		gap, width = s/4-low/4, high/4-low/4
	}
	return Clip(gap / width)
}

// Clip limits v to 0..1.
func Clip(v float64) float64 { return min(max(v, 0), 1) }

// MeanStd returns the mean and the population deviation of finite numbers, of which there
// is at least one. The deviation of equal numbers is 0.
func MeanStd(v []float64) (mean, std float64) {
	low, high := v[0], v[0]
	for _, x := range v {
		low, high = min(low, x), max(high, x)
	}
	if low == high {
		return low, 0
	}
	// Scaling by a power of two changes nothing but what is too small to matter.
	const usual = 400 // powers of two within which squares and sums keep their digits
	_, power := math.Frexp(max(math.Abs(low), math.Abs(high)))
	if power >= -usual && power <= usual {
		power = 0
	}
	for _, x := range v {
		mean += math.Ldexp(x, -power)
	}
	mean /= float64(len(v))
	for _, x := range v {
		d := math.Ldexp(x, -power) - mean
		std += d * d
	}
	return math.Ldexp(mean, power), math.Ldexp(math.Sqrt(std/float64(len(v))), power)
}

// Between interpolates from a to b, which is reached at 1.
func Between(a, b, share float64) float64 {
	if d := b - a; !math.IsInf(d, 0) {
		return a + share*d
	}
	return a*(1-share) + b*share
}
