package modeltest

import (
	"testing"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// NewFake returns a backend whose detectors are Sums.
func NewFake() *Fake {
	return &Fake{Make: func(*manifest.Manifest) sdk.Scorer { return Sums{} }}
}

// VersionOf returns the version that answers a request.
func VersionOf(t *testing.T, r *registry.Registry, id, version, key string) string {
	t.Helper()
	l, err := r.Acquire(t.Context(), id, version, key)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	return l.Model().Version()
}

// StateOf returns the status of one version, or the zero value if there is none.
func StateOf(t *testing.T, r *registry.Registry, id, version string) registry.Status {
	t.Helper()
	all, err := r.List(id)
	if err != nil {
		return registry.Status{}
	}
	for _, s := range all {
		if s.Version == version {
			return s
		}
	}
	return registry.Status{}
}

// Predict scores n rows of zeros.
func Predict(t testing.TB, r *registry.Registry, id, version string, n int) []float64 {
	t.Helper()
	lease, err := r.Acquire(t.Context(), id, version, "")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	out := make([]float64, n)
	if failed, err := lease.Model().Predict(t.Context(), RowsOf(t, lease.Model(), make([]float64, n)...), 0, out); err != nil || failed != nil {
		t.Fatal(failed, err)
	}
	return out
}
