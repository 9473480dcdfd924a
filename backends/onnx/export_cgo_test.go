//go:build cgo

package onnx

import (
	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Session opens data, neither checked nor proved, for the model of a.
func (b *Backend) Session(data []byte, a backends.Artifact) (sdk.Scorer, error) {
	if _, _, err := b.find(); err != nil {
		return nil, err
	}
	g, _, err := check(a)
	if err != nil {
		return nil, err
	}
	bind, err := bindGraph(a.Manifest, g)
	if err != nil {
		return nil, err
	}
	s, err := newScorer(data, bind, a.Manifest)
	if err != nil {
		return nil, err
	}
	return s, s.findShape(a.ProbeRows)
}
