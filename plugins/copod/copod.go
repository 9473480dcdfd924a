// Package copod is the detector COPOD: copula-based outlier detection (Li et al.
// 2020). It gives PyOD's scores of single rows.
package copod

import (
	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/plugins/internal/tails"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

// Algorithm names the detector.
const Algorithm = "COPOD"

// New returns the detector. A row's score is the sum over its features of the
// larger of the mean surprise of both tails and that of the one which the skewness
// points to, in nats; these terms are its explanation.
func New() wasm.Detector {
	return tails.Detector(wasm.Description{Name: "copod", Version: "1.0.0", Algorithm: Algorithm, DType: "float64"},
		func(left, right, skewed float64) float64 { return max(skewed, (left+right)/2) })
}

// Fit keeps the training rows, which the tails are counted in.
func Fit(d fit.Data, o fit.Options) (fit.Result, error) { return tails.Fit(d, o) }
