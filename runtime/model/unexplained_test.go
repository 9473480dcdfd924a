package model_test

import (
	"errors"
	"math"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestUnexplainableRow checks that a row that cannot be scored fails the same way
// when an explanation is requested.
func TestUnexplainableRow(t *testing.T) {
	m, _, _ := modeltest.OpenGated(t, "explanation: {method: occlusion, reference: {x: 1}}\n", 1)
	for _, v := range []float64{modeltest.NoScore, modeltest.FailsWhole} {
		_, err := m.Explain(t.Context(), modeltest.Batch(v))
		var failed *sdk.RowErrors
		if !errors.As(err, &failed) {
			t.Errorf("row %v: %v", v, err)
		}
	}
	if e, err := m.Explain(t.Context(), modeltest.Batch(3)); err != nil || e.Score != 6 || math.Abs(e.Residual) > 1e-12 {
		t.Errorf("%+v, %v", e, err)
	}
}
