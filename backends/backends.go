// Package backends is what the runtime asks of the code that opens artifacts.
//
// Each backend lives in a package of its own below this one; none of them knows
// of catalogs, requests or calibration.
package backends

import (
	"context"
	"errors"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// ErrRefused is wrapped by errors that say why an artifact must not be served.
var ErrRefused = errors.New("refused")

// ErrUnavailable is wrapped by errors that say that a backend cannot open
// anything now, whatever the artifact.
var ErrUnavailable = errors.New("backend unavailable")

// Artifact is a model's file together with what its manifest says.
type Artifact struct {
	Manifest *manifest.Manifest
	Bytes    []byte // the very bytes whose digest was checked
	Digest   string // "sha256:..." of Bytes
	Files    map[string][]byte
	// Dir is the directory that the files were read from, as Where returns it. It is
	// for deciding what the model may do, and never for reading.
	Dir string
	// Outside are the files that were read through links that lead out of Dir, as Where
	// returns them.
	Outside []string
	// ProbeRows are rows the model should be able to score.
	ProbeRows *sdk.Batch
	// Memo carries what Complete found out to Open of the same artifact; nil: nothing is
	// carried.
	Memo *Memo
}

// Memo holds a value of a backend's own.
type Memo struct{ Value any }

// Backend opens artifacts of one kind.
type Backend interface {
	// Complete fills in what the manifest leaves to the artifact, such as the
	// features and the output of an ONNX graph.
	Complete(ctx context.Context, a Artifact) error
	// Open checks the artifact and returns a Scorer for it. It takes no longer than
	// a few times limits.load_timeout, not counting the time that it waits for its
	// turn, and returns when ctx ends.
	Open(ctx context.Context, a Artifact) (sdk.Scorer, error)
}
