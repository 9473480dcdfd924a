// Package process makes a detector written in Go a process plugin: a program that
// the host starts, watches and restarts, and that may use whatever a WebAssembly
// module cannot.
//
//	func main() { process.Serve(process.Detector{Describe: describe, Open: open}) }
//
// The protocol is proto/pynomaly/plugin/v1/plugin.proto, over HashiCorp's go-plugin.
// How the host runs plugins is not in here.
package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

// Description is what a detector says of itself before it is opened.
type Description struct {
	Name, Version, Algorithm string
	// DType is float32, float64 or int64: batches are dense and of that type, numbers
	// of other types and truth values are widened to float64. Empty: batches are as
	// the manifest's features make them, strings among them.
	DType string
	// Features are the columns' names in order; nil: as the manifest says.
	Features []string
	// Orientation is higher_is_anomalous, the default, or higher_is_normal.
	Orientation string
	// Threshold is on the oriented score; nil: as the manifest says.
	Threshold *float64
	// Stateful detectors remember rows: there is one process, and calls reach it one
	// at a time, in order.
	Stateful bool
	// Concurrency is how many calls the Scorer takes at once; 0 is 1.
	Concurrency int
	// Explains and Learns say that the Scorer is an sdk.Explainer or sdk.Learner.
	Explains, Learns bool
}

// Setup is what a detector is given before its first rows.
type Setup struct {
	Config   json.RawMessage // the config section of the manifest, an object
	Dir      string          // has the files, read-only
	Files    []string        // the artifact, if it is no program, and the files of the manifest
	Features []sdk.Feature
}

// ReadFile reads one of the files.
func (s Setup) ReadFile(name string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(s.Dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, fmt.Errorf("reading a file of the model: %w", err)
	}
	return data, nil
}

// Detector is what a plugin's author writes. Open makes the Scorer; what it is
// beside that – sdk.Explainer, sdk.Learner, sdk.Snapshotter – is served too.
type Detector struct {
	Describe func() Description
	Open     func(ctx context.Context, s Setup) (sdk.Scorer, error)
}

// ErrInvalid is wrapped by errors of a Scorer that are about the rows as a whole: the
// caller has to change them. Any other error, but an sdk.RowErrors, says that the
// detector has failed: the request ends with status 500, and after five in a row the
// host starts the process again, unless a row that was scored before still is.
var ErrInvalid = errors.New("invalid rows")

// FromWASM makes a process plugin of a detector that is written as a WASM module's:
// one source, both forms. As there, the errors that it returns are about the rows.
func FromWASM(d wasm.Detector) Detector {
	d = aboutRows(d)
	return Detector{
		Describe: func() Description {
			w := d.Describe()
			return Description{
				Name: w.Name, Version: w.Version, Algorithm: w.Algorithm, DType: w.DType, Features: w.Features, Orientation: w.Orientation,
				Threshold: w.Threshold, Stateful: w.Stateful, Concurrency: 1, Explains: d.Explain != nil, Learns: d.Learn != nil,
			}
		},
		Open: func(_ context.Context, s Setup) (sdk.Scorer, error) {
			setup := wasm.Setup{Config: s.Config, DType: d.Describe().DType, Files: map[string][]byte{}}
			for _, f := range s.Features {
				setup.Features = append(setup.Features, wasm.Feature{Name: f.Name, DType: f.DType.String()})
			}
			for _, name := range s.Files {
				data, err := s.ReadFile(name)
				if err != nil {
					return nil, err
				}
				setup.Files[name] = data
			}
			return wasm.NewScorer(d, setup)
		},
	}
}

// aboutRows makes the errors of a detector's calls ErrInvalid.
func aboutRows(d wasm.Detector) wasm.Detector {
	score, explain, learn := d.Score, d.Explain, d.Learn
	d.Score = func(in wasm.Matrix, out []float64) error { return asInvalid(score(in, out)) }
	if explain != nil {
		d.Explain = func(in wasm.Matrix, out []float64) error { return asInvalid(explain(in, out)) }
	}
	if learn != nil {
		d.Learn = func(in wasm.Matrix) error { return asInvalid(learn(in)) }
	}
	return d
}

// invalidError is an ErrInvalid in another's words.
type invalidError struct{ error }

func (e invalidError) Unwrap() []error { return []error{ErrInvalid, e.error} }

func asInvalid(err error) error {
	if err == nil {
		return nil
	}
	return invalidError{err}
}

// Unavailable is an error that asks the host to make the call again.
func Unavailable(reason string) error { return status.Error(codes.Unavailable, reason) }
