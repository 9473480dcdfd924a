// Package conformance opens models on disk for the conformance kit of the SDK:
// any backend's, with rows that the model can score. What is checked is the kit's.
package conformance

import (
	"context"
	"math"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/sdktest"
)

// Model prepares the kit for the model at a place: a bare module or graph, or a
// directory. The rows are its golden ones, where it has some.
func Model(ctx context.Context, at runtime.Place, with model.Backends) (sdktest.Open, sdktest.Options, error) {
	backend, a, err := at.Artifact(ctx, with)
	if err != nil {
		return nil, sdktest.Options{}, err
	}
	o := sdktest.Options{
		Rows: a.ProbeRows, Tolerance: tolerance(a.Manifest), BatchDependent: a.Manifest.BatchDependent, Broken: map[string]sdktest.Open{},
		LargeRows: a.Manifest.Limits.MaxBatchRows,
	}
	if len(a.Bytes) > 0 { // a command may do without
		broken := a
		broken.Bytes = a.Bytes[:len(a.Bytes)/2]
		o.Broken["its artifact is cut in half"] = opens(backend, broken)
	}
	return opens(backend, a), o, nil
}

// opens opens an artifact by its backend.
func opens(backend backends.Backend, a backends.Artifact) sdktest.Open {
	return func(ctx context.Context) (sdk.Scorer, error) {
		m := *a.Manifest
		a.Manifest = &m
		return backend.Open(ctx, a)
	}
}

// tolerance is the manifest's, but where it says nothing a float64 plugin is held
// to the kit's own.
func tolerance(m *manifest.Manifest) float64 {
	if m.Golden == nil && m.Backend != manifest.BackendONNX {
		return 0
	}
	return math.Max(m.GoldenTolerance(), math.SmallestNonzeroFloat64)
}
