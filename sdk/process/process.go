// Package process makes a detector written in Go a process plugin: a program
// that the host starts, watches and restarts. Unlike a WebAssembly module it
// may use files, the network, threads and C libraries.
//
//	func main() { process.Serve(process.Detector{Describe: describe, Open: open}) }
//
// The protocol is proto/pynomaly/plugin/v1/plugin.proto, over HashiCorp's
// go-plugin. The package holds the plugin's side only, not the host's.
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

// Description is what a detector tells the host before it is opened.
type Description struct {
	Name, Version, Algorithm string
	// DType is float32, float64 or int64 if the detector takes dense batches of
	// that type; the host then converts other numbers and booleans to it. If
	// empty, batches have the features of the manifest, which may include
	// strings.
	DType string
	// Features are the column names in order. If nil, the manifest names them.
	Features []string
	// Orientation is higher_is_anomalous (the default) or higher_is_normal.
	Orientation string
	// Threshold applies to the oriented score, where higher is more anomalous.
	// If nil, the manifest gives it.
	Threshold *float64
	// Stateful detectors remember rows. The host runs one process and calls it
	// with one request at a time, in order.
	Stateful bool
	// Concurrency is how many concurrent calls the Scorer takes; 0 means 1.
	Concurrency int
	// Explains and Learns say that the Scorer is an sdk.Explainer or an
	// sdk.Learner.
	Explains, Learns bool
}

// Setup is what a detector receives before its first rows.
type Setup struct {
	Config   json.RawMessage // the config section of the manifest, an object
	Dir      string          // holds the files; read-only
	Files    []string        // file names: the artifact, unless it is the program itself, then the manifest's files
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

// Detector is a plugin's detector. Open returns its Scorer. If the Scorer is
// also an sdk.Explainer, sdk.Learner or sdk.Snapshotter, that ability is served
// as well.
type Detector struct {
	Describe func() Description
	Open     func(ctx context.Context, s Setup) (sdk.Scorer, error)
}

// ErrInvalid is wrapped by errors about all rows of a call: the caller has to
// change them. Any other error except *sdk.RowErrors means that the detector
// failed, and the request ends with status 500. After five such failures in a
// row the host scores a row that succeeded before. If that fails too, the host
// restarts the process.
var ErrInvalid = errors.New("invalid rows")

// FromWASM makes a process plugin of a detector written for a WASM module, so
// that one source serves both forms. All errors that d returns are ErrInvalid,
// as they are in a module.
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

// aboutRows wraps the functions of d so that their errors are ErrInvalid.
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

// invalidError is an ErrInvalid with the text of another error.
type invalidError struct{ error }

func (e invalidError) Unwrap() []error { return []error{ErrInvalid, e.error} }

func asInvalid(err error) error {
	if err == nil {
		return nil
	}
	return invalidError{err}
}

// Unavailable returns an error that asks the host to repeat the call.
func Unavailable(reason string) error { return status.Error(codes.Unavailable, reason) }
