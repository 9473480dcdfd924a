// Package plugins lists the reference detectors: ECOD, COPOD, HBOS and half-space
// trees. Each is written on the SDK alone. Its subfolders module and process make
// plugins of it, and its Fit writes the files that the plugin reads.
//
// The host adds thresholds and calibration.
package plugins

import (
	"github.com/pynomaly/pynomaly-runtime/plugins/copod"
	"github.com/pynomaly/pynomaly-runtime/plugins/ecod"
	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/plugins/hbos"
	"github.com/pynomaly/pynomaly-runtime/plugins/hstrees"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

// Reference is a reference detector.
type Reference struct {
	Name      string // also the name of its module, without .wasm
	Algorithm string
	New       func() wasm.Detector
	Fit       func(fit.Data, fit.Options) (fit.Result, error)
	Explains  bool // it explains its scores exactly, term by term
	Stateful  bool
}

// All returns the reference detectors.
func All() []Reference {
	return []Reference{
		{Name: "copod", Algorithm: copod.Algorithm, New: copod.New, Fit: copod.Fit, Explains: true},
		{Name: "ecod", Algorithm: ecod.Algorithm, New: ecod.New, Fit: ecod.Fit, Explains: true},
		{Name: "hbos", Algorithm: hbos.Algorithm, New: hbos.New, Fit: hbos.Fit, Explains: true},
		{Name: "hstrees", Algorithm: hstrees.Algorithm, New: hstrees.New, Fit: hstrees.Fit, Stateful: true},
	}
}
