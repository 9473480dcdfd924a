package onnx

import (
	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Bounded reports whether calls of few rows of a graph end soon.
var Bounded = bounded

// Direction returns what the name of an output says of its values.
var Direction = direction

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
	s.bind.OutputRank, err = s.outputRank(a.ProbeRows)
	return s, err
}
