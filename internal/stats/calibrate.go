package stats

import "math"

// The calibrations accept finite scores of any size. Differences that would overflow
// are computed on quarters of the numbers, and squares on numbers near 1.

// Unify maps a score by the error function (Kriegel et al. 2011) to clip(erf((s -
// mean) / (std sqrt 2)), 0, 1). std must be above 0.
func Unify(s, mean, std float64) float64 {
	gap, width := s-mean, std*math.Sqrt2
	if math.IsInf(gap, 0) || math.IsInf(width, 0) {
		gap, width = s/4-mean/4, std/4*math.Sqrt2
	}
	return Clip(math.Erf(gap / width))
}

// Linear maps low..high to 0..1 and clips. high must be above low.
func Linear(s, low, high float64) float64 {
	gap, width := s-low, high-low
	if math.IsInf(gap, 0) || math.IsInf(width, 0) {
		gap, width = s/4-low/4, high/4-low/4
	}
	return Clip(gap / width)
}

// Clip limits v to 0..1.
func Clip(v float64) float64 { return min(max(v, 0), 1) }

// MeanStd returns the mean and the population standard deviation of one or more
// finite numbers. The deviation of equal numbers is 0.
func MeanStd(v []float64) (mean, std float64) {
	low, high := v[0], v[0]
	for _, x := range v {
		low, high = min(low, x), max(high, x)
	}
	if low == high {
		return low, 0
	}
	// Scaling by a power of two loses only what is too small to matter.
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

// Between returns a for share 0, b for share 1, and interpolates linearly.
func Between(a, b, share float64) float64 {
	if d := b - a; !math.IsInf(d, 0) {
		return a + share*d
	}
	return a*(1-share) + b*share
}
