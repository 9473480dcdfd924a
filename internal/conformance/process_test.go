package conformance_test

import (
	"context"
	"errors"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/conformance"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/sdktest"
)

// TestProcessPlugins runs the kit on the reference detectors as process plugins, and
// checks that their scores and explanations equal those of the same sources as WASM
// modules, bit by bit.
func TestProcessPlugins(t *testing.T) {
	dir, modules := testkit.ProcessModels(t), testkit.FittedModels(t)
	with := model.Backends{manifest.BackendWASM: testkit.WASM(t), manifest.BackendProcess: testkit.Processes(t, dir, nil)}
	places, err := modelstore.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	others, err := modelstore.Find(modules)
	if err != nil {
		t.Fatal(err)
	}
	for n, at := range places {
		t.Run(at.ID, func(t *testing.T) {
			open, o, err := conformance.Model(t.Context(), at, with)
			if err != nil {
				t.Fatal(err)
			}
			o.LargeRows = 2000
			sdktest.Run(t, open, o)

			module, _, err := conformance.Model(t.Context(), others[n], with)
			if err != nil {
				t.Fatal(err)
			}
			got, want := numbers(t, open, o.Rows), numbers(t, module, o.Rows)
			if len(got) != len(want) || len(got) < o.Rows.Rows() {
				t.Fatalf("%d and %d numbers", len(got), len(want))
			}
			for i := range got {
				if got[i] != want[i] {
					t.Errorf("number %d is %v as a process, %v as a module", i, got[i], want[i])
				}
			}
		})
	}
}

// numbers returns the scores of rows, and their explanations.
func numbers(t *testing.T, open sdktest.Open, in *sdk.Batch) []float64 {
	t.Helper()
	s, err := open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float64, in.Rows())
	err = s.Score(t.Context(), in, out)
	if e, ok := s.(sdk.Explainer); ok {
		more := make([]float64, in.Rows()*(1+len(in.Features())))
		if failed := e.Explain(t.Context(), in, more); !errors.Is(failed, errors.ErrUnsupported) {
			err = errors.Join(err, failed)
			out = append(out, more...)
		}
	}
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return out
}
