// Package ecod is the detector ECOD: empirical cumulative distribution functions (Li
// et al. 2022). Its scores are those of PyOD for single rows.
package ecod

import (
	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/plugins/internal/tails"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

// Algorithm names the detector.
const Algorithm = "ECOD"

// New returns the detector. A row's score is a sum over its features, in nats. A
// feature's term is the largest of three numbers: the surprise of the left tail, of
// the right tail, and of the tail to which the skewness points. The terms are the
// score's explanation.
func New() wasm.Detector {
	return tails.Detector(wasm.Description{Name: "ecod", Version: "1.0.0", Algorithm: Algorithm, DType: "float64"},
		func(left, right, skewed float64) float64 { return max(left, right, skewed) })
}

// Fit keeps the training rows, in which the tails are counted.
func Fit(d fit.Data, o fit.Options) (fit.Result, error) { return tails.Fit(d, o) }
