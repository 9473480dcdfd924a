// Package copod is the detector COPOD: copula-based outlier detection (Li et al.
// 2020). Its scores are those of PyOD for single rows.
package copod

import (
	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/plugins/internal/tails"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

// Algorithm names the detector.
const Algorithm = "COPOD"

// New returns the detector. A row's score is a sum over its features, in nats. A
// feature's term is the larger of two numbers: the mean surprise of both tails, and
// the surprise of the tail to which the skewness points. The terms are the score's
// explanation.
func New() wasm.Detector {
	return tails.Detector(wasm.Description{Name: "copod", Version: "1.0.0", Algorithm: Algorithm, DType: "float64"},
		func(left, right, skewed float64) float64 { return max(skewed, (left+right)/2) })
}

// Fit keeps the training rows, in which the tails are counted.
func Fit(d fit.Data, o fit.Options) (fit.Result, error) { return tails.Fit(d, o) }
