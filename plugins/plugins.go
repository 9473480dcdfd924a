// Package plugins lists the reference detectors: ECOD, COPOD, HBOS and half-space
// trees. Each is written on the SDK alone; its module subfolder makes a plugin of
// it, and its Fit turns training rows into the files that the plugin reads.
//
// Thresholds and calibration are not theirs: the host adds them.
package plugins

import (
	"github.com/pynomaly/pynomaly-runtime/plugins/copod"
	"github.com/pynomaly/pynomaly-runtime/plugins/ecod"
	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/plugins/hbos"
	"github.com/pynomaly/pynomaly-runtime/plugins/hstrees"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

// Reference is one detector.
type Reference struct {
	Name      string // also of its module: Name.wasm
	Algorithm string
	New       func() wasm.Detector
	Fit       func(fit.Data, fit.Options) (fit.Result, error)
	Explains  bool // exactly, term by term
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
