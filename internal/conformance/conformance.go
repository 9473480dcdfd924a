// Package conformance prepares models on disk, of any backend, for the conformance
// kit of the SDK. The kit decides what is checked.
package conformance

import (
	"context"
	"math"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/sdktest"
)

// Model prepares the kit for the model at a place: a bare module or graph, or a
// directory. The rows are the model's golden rows if it has any.
func Model(ctx context.Context, at modelstore.Place, with model.Backends) (sdktest.Open, sdktest.Options, error) {
	backend, a, err := at.Artifact(ctx, with)
	if err != nil {
		return nil, sdktest.Options{}, err
	}
	o := sdktest.Options{
		Rows: a.ProbeRows, Tolerance: tolerance(a.Manifest), BatchDependent: a.Manifest.BatchDependent, Broken: map[string]sdktest.Open{},
		LargeRows: a.Manifest.Limits.MaxBatchRows,
	}
	if len(a.Bytes) > 0 { // a model that is only a command has no bytes
		broken := a
		broken.Bytes = a.Bytes[:len(a.Bytes)/2]
		o.Broken["its artifact is cut in half"] = opens(backend, broken)
	}
	return opens(backend, a), o, nil
}

// EveryRow checks that the model at a place gives each row of a batch one finite score.
func EveryRow(ctx context.Context, at modelstore.Place, with model.Backends) error {
	open, o, err := Model(ctx, at, with)
	if err != nil {
		return err
	}
	return sdktest.EveryRow(ctx, open, o)
}

// opens returns a function that opens an artifact with its backend.
func opens(backend backends.Backend, a backends.Artifact) sdktest.Open {
	return func(ctx context.Context) (sdk.Scorer, error) {
		m := *a.Manifest
		a.Manifest = &m
		return backend.Open(ctx, a)
	}
}

// tolerance returns the manifest's tolerance, or the kit's for a float64 plugin
// whose manifest sets none.
func tolerance(m *manifest.Manifest) float64 {
	if m.Golden == nil && m.Backend != manifest.BackendONNX {
		return 0
	}
	return math.Max(m.GoldenTolerance(), math.SmallestNonzeroFloat64)
}
