// Package backends defines the interface between the runtime and the code that
// opens artifacts.
//
// Each backend lives in its own package below this one. Backends know nothing
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

// ErrUnavailable is wrapped by errors that say that a backend can open no
// artifact at present.
var ErrUnavailable = errors.New("backend unavailable")

// Artifact is a model's file with its manifest.
type Artifact struct {
	Manifest *manifest.Manifest // which a backend does not change
	Bytes    []byte             // the bytes whose digest was checked
	Digest   string             // "sha256:..." of Bytes
	Files    map[string][]byte
	// Dir is the directory of the files, as Where returns it. Use it to decide
	// what the model may do, not to read files.
	Dir string
	// Outside lists the files that were read through links to places outside
	// Dir, as Where returns them.
	Outside []string
	// ProbeRows are rows that the model should be able to score.
	ProbeRows *sdk.Batch
	// Original asks for the artifact itself: no engine of this host may take its
	// place.
	Original bool
	// Memo carries findings of Inspect to Open of the same artifact; nil
	// carries nothing.
	Memo *Memo
}

// Memo holds a value that only the backend reads.
type Memo struct{ Value any }

// Backend opens artifacts of one kind.
type Backend interface {
	// Inspect returns what the artifact adds to the manifest that leaves it out, such as
	// the features and the output of an ONNX graph. What it runs ends with ctx.
	Inspect(ctx context.Context, a Artifact) (manifest.Derived, error)
	// Open checks the artifact and returns a Scorer for it. It takes at most a
	// few times limits.load_timeout, not counting the time that it waits for
	// other loads, and returns when ctx ends.
	Open(ctx context.Context, a Artifact) (sdk.Scorer, error)
}
