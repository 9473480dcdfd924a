package batching_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/guard"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// panicking panics at rows with a value below -100, and when it is closed.
type panicking struct{ modeltest.Sums }

func (p panicking) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	for i, v := range in.Float64s() {
		if v < -100 {
			panic("at such a value")
		}
		out[i] = v
	}
	return nil
}

func (panicking) Close() error { panic("at the end") }

// TestPanicEndsItsCall checks that a panic of a detector ends its call, is counted,
// and does not affect other rows and calls.
func TestPanicEndsItsCall(t *testing.T) {
	for name, text := range map[string]string{
		"merged":          "",
		"batch dependent": "batch_dependent: true\n",
		"stateful":        "stateful: true\n",
	} {
		t.Run(name, func(t *testing.T) {
			m := modeltest.OpenFake(t, modeltest.Simple("m", "1.0.0")+text, nil, func(*manifest.Manifest) sdk.Scorer { return panicking{} })
			predict := func(rows ...float64) ([]float64, []sdk.RowError, error) {
				in := sdk.NewBatch(m.Schema().Features())
				in.Resize(len(rows))
				for i, v := range rows {
					if err := in.SetValue(i, 0, v); err != nil {
						t.Fatal(err)
					}
				}
				out := make([]float64, len(rows))
				failed, err := m.Predict(t.Context(), in, 0, out)
				return out, failed, err
			}
			var p *guard.PanicError
			if _, _, err := predict(-101); !errors.Is(err, batching.ErrScoring) || !errors.As(err, &p) || !strings.Contains(string(p.Stack), "guard_test.go") {
				t.Errorf("%v; want an ErrScoring with the stack of the panic", err)
			}
			if m.Stats.Snapshot().Panics == 0 {
				t.Error("no panic was counted")
			}
			if out, failed, err := predict(3); err != nil || failed != nil || out[0] != 3 {
				t.Errorf("%v, %v, %v; want the score 3", out, failed, err)
			}
			if text != "" {
				return
			}
			if out, failed, err := predict(1, -101, 2); err != nil || len(failed) != 1 || failed[0].Row != 1 || out[0] != 1 || out[2] != 2 {
				t.Errorf("%v, %v, %v; want the panic's row alone to fail", out, failed, err)
			}
		})
	}
}
