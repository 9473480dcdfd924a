// Package ecod is the detector ECOD: empirical cumulative distribution functions
// (Li et al. 2022). It gives PyOD's scores of single rows.
package ecod

import (
	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/plugins/internal/tails"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

// Algorithm names the detector.
const Algorithm = "ECOD"

// New returns the detector. A row's score is the sum over its features of the
// largest of the left tail's surprise, the right one's and that which the
// skewness points to, in nats; these terms are its explanation.
func New() wasm.Detector {
	return tails.Detector(wasm.Description{Name: "ecod", Version: "1.0.0", Algorithm: Algorithm, DType: "float64"},
		func(left, right, skewed float64) float64 { return max(left, right, skewed) })
}

// Fit keeps the training rows, which the tails are counted in.
func Fit(d fit.Data, o fit.Options) (fit.Result, error) { return tails.Fit(d, o) }
