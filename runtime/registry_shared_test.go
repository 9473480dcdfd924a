package runtime_test

import (
	"testing"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

func newFake() *fake {
	return &fake{open: func(*manifest.Manifest) sdk.Scorer { return sums{} }}
}

func version(t *testing.T, r *runtime.Registry, id, version, key string) string {
	t.Helper()
	l, err := r.Acquire(t.Context(), id, version, key)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	return l.Model().Version()
}

func state(t *testing.T, r *runtime.Registry, id, version string) runtime.Status {
	t.Helper()
	all, err := r.List(id)
	if err != nil {
		return runtime.Status{}
	}
	for _, s := range all {
		if s.Version == version {
			return s
		}
	}
	return runtime.Status{}
}

func predict(t testing.TB, r *runtime.Registry, id, version string, n int) []float64 {
	t.Helper()
	lease, err := r.Acquire(t.Context(), id, version, "")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	out := make([]float64, n)
	if failed, err := lease.Model().Predict(t.Context(), xs(t, lease.Model(), make([]float64, n)...), 0, out); err != nil || failed != nil {
		t.Fatal(failed, err)
	}
	return out
}
