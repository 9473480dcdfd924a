package model_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// small is a detector that knows that calls of more than 4 rows do not fit.
type small struct{ *modeltest.Gated }

func (small) MaxRows() int { return 4 }

// TestRowsThatFit checks that requests are split into calls of as many rows as fit the
// memory, which a warning says, and that a manifest that says max_batch_rows is obeyed.
func TestRowsThatFit(t *testing.T) {
	for _, c := range []struct {
		extra string
		most  int
	}{{"", 4}, {"limits: {timeout: 5m, load_timeout: 10m, max_batch_rows: 8}\n", 8}} {
		g := &modeltest.Gated{}
		m := modeltest.OpenFake(t, modeltest.Simple("small", "1.0.0")+c.extra, batching.NewCalls(1), func(*manifest.Manifest) sdk.Scorer { return small{g} })
		g.Shut()() // forgets the calls of the probe
		out := make([]float64, 10)
		failed, err := m.Predict(t.Context(), modeltest.Batch(0, 1, 2, 3, 4, 5, 6, 7, 8, 9), 0, out)
		if err != nil || len(failed) > 0 || out[9] != 18 {
			t.Errorf("%v, %v, %v", out, failed, err)
		}
		if sizes := g.Calls(); slices.Max(sizes) != c.most {
			t.Errorf("%q: calls of %v rows; want at most %d", c.extra, sizes, c.most)
		}
		if said := strings.Contains(strings.Join(m.Warnings, ""), "at most 4 rows"); said != (c.most == 4) || m.Manifest.Limits.MaxBatchRows != c.most {
			t.Errorf("%q: %q, %d rows", c.extra, m.Warnings, m.Manifest.Limits.MaxBatchRows)
		}
	}
}
