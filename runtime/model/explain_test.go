package model_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/explain"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestExplanations compares the three methods with the reference values of every
// case.
func TestExplanations(t *testing.T) {
	backends := testkit.Backends(t, testkit.Proofs())
	for _, c := range testkit.Cases(t) {
		t.Run(c.Name, func(t *testing.T) {
			m := modeltest.OpenCase(t, c, backends)
			tolerance := c.Expected.Tolerance
			same := func(what string, got, want, allowed float64) {
				t.Helper()
				if !(math.Abs(got-want) <= allowed) {
					t.Errorf("%s: %v, want %v within %v", what, got, want, allowed)
				}
			}
			contributions := func(what string, e *explain.Explanation, want []float64, allowed float64) {
				t.Helper()
				if len(e.Contributions) != len(want) {
					t.Fatalf("%s: %d contributions, want %d", what, len(e.Contributions), len(want))
				}
				for j, v := range e.Contributions {
					same(what+" "+v.Feature, v.Contribution, want[j], allowed)
				}
			}
			for _, want := range c.Expected.Explanations.Rows {
				x := modeltest.Row(t, m, c.Rows[want.Row])
				given, err := m.ExplainPermutations(t.Context(), x, c.Expected.Explanations.Permutations)
				if err != nil {
					t.Fatal(err)
				}
				contributions("given permutations", given, want.Given.Contributions, 4*tolerance)
				same("base value", given.BaseValue, want.BaseValue, tolerance)
				same("score", given.Score, want.Score, tolerance)
				same("residual", given.Residual, 0, 1e-9)
				if given.Evaluations != want.Given.Evaluations || !given.Additive {
					t.Errorf("%d evaluations, want %d; additive %v", given.Evaluations, want.Given.Evaluations, given.Additive)
				}
				occlusion, err := m.ExplainOcclusion(t.Context(), x)
				if err != nil {
					t.Fatal(err)
				}
				contributions("occlusion", occlusion, want.Occlusion.Contributions, 4*tolerance)
				same("occlusion residual", occlusion.Residual, want.Occlusion.Residual, 4*tolerance*float64(len(c.Facts.Features)))
				if want.Shapley.Method == "exact" {
					exact, err := m.ExplainExact(t.Context(), x)
					if err != nil {
						t.Fatal(err)
					}
					contributions("exact", exact, want.Shapley.Contributions, 4*tolerance)
					same("exact residual", exact.Residual, 0, 1e-9)
				} else if _, err := m.ExplainExact(t.Context(), x); err == nil {
					t.Errorf("exact values of %d features were computed", len(c.Facts.Features))
				}
				configured, err := m.Explain(t.Context(), x)
				if err != nil || configured.Method != m.Manifest.Explanation.Method {
					t.Errorf("Explain: %v by %v", err, configured)
				}
			}
		})
	}
}

// terms is a detector that is the sum of its features and explains it.
type terms struct{ features []sdk.Feature }

func (s terms) Info() sdk.Info { return sdk.Info{Features: s.features} }
func (terms) Close() error     { return nil }

func (s terms) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	d := len(s.features)
	for i := range out {
		out[i] = 1
		for _, v := range in.Float64s()[i*d : (i+1)*d] {
			out[i] += v
		}
	}
	return nil
}

func (s terms) Explain(_ context.Context, in *sdk.Batch, out []float64) error {
	out[0] = 1
	copy(out[1:], in.Float64s())
	return nil
}

func TestNativeExplanation(t *testing.T) {
	const text = `
apiVersion: pynomaly.io/v1
kind: Model
id: terms
version: 1.0.0
artifact: a
features: [{name: a, dtype: float64}, {name: b, dtype: float64}]
output: {orientation: higher_is_normal}
threshold: -1
explanation: {method: native}
`
	m := modeltest.OpenFake(t, text, nil, func(m *manifest.Manifest) sdk.Scorer { return terms{m.SDKFeatures()} })
	e, err := m.Explain(t.Context(), modeltest.Row(t, m, map[string]any{"a": 2, "b": 3}))
	if err != nil {
		t.Fatal(err)
	}
	if e.Method != "native" || e.BaseValue != -1 || e.Score != -6 || e.Residual != 0 || !e.Additive ||
		e.Contributions[0].Contribution != -2 || e.Contributions[1].Contribution != -3 {
		t.Errorf("%+v", e)
	}
	// Without that ability, the manifest is refused.
	_, err = modeltest.TryFake(t, text, nil, func(m *manifest.Manifest) sdk.Scorer { return struct{ sdk.Scorer }{terms{m.SDKFeatures()}} })
	if err == nil || !strings.Contains(err.Error(), "does not explain itself") {
		t.Errorf("error %v", err)
	}
}
