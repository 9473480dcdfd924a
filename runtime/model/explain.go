package model

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/explain"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// ErrNotExplained means that the manifest does not say how to explain scores.
var ErrNotExplained = errors.New("the model's manifest has no explanation section")

// errNoMethod wraps ErrNotExplained and says how to get an explanation section.
var errNoMethod = fmt.Errorf("%w: `model init --train` and `model calibrate` write one", ErrNotExplained)

// Explains returns an ErrNotExplained if rows of a batch cannot be explained: the
// manifest does not say how, or rows influence each other.
func (m *Model) Explains() error {
	switch {
	case m.Manifest.Explanation == nil:
		return errNoMethod
	case m.Manifest.Stateful, m.Manifest.BatchDependent:
		return fmt.Errorf("%w that works for rows that influence each other: have each explained alone", ErrNotExplained)
	}
	return nil
}

// Explain attributes the score of the only row of in, in one batch, by the
// manifest's method. If rows influence each other, each variation of the row is
// scored in a separate call.
func (m *Model) Explain(ctx context.Context, in *sdk.Batch) (*explain.Explanation, error) {
	e := m.Manifest.Explanation
	if e == nil {
		return nil, errNoMethod
	}
	if m.Manifest.Stateful && e.Method != manifest.ExplainNative {
		return nil, fmt.Errorf("%w that works for stateful models: use native", ErrNotExplained)
	}
	switch e.Method {
	case manifest.ExplainNative:
		return m.explainNative(ctx, in)
	case manifest.ExplainOcclusion:
		return m.ExplainOcclusion(ctx, in)
	case manifest.ExplainExact:
		return m.ExplainExact(ctx, in)
	default:
		return m.ExplainPermutations(ctx, in, explain.Draw(e.Permutations, len(m.schema.Features()), e.Seed))
	}
}

// ExplainPermutations computes permutation Shapley over the given orders of
// features.
func (m *Model) ExplainPermutations(ctx context.Context, in *sdk.Batch, permutations [][]int) (*explain.Explanation, error) {
	return m.explained(manifest.ExplainPermutation, func(x *explain.Explainer) (*explain.Explanation, error) { return x.Permutations(ctx, in, permutations) })
}

// ExplainExact computes Shapley values from all subsets of features.
func (m *Model) ExplainExact(ctx context.Context, in *sdk.Batch) (*explain.Explanation, error) {
	if d := len(m.schema.Features()); d > manifest.MaxExactFeatures {
		return nil, fmt.Errorf("exact explanations take at most %d features; the model has %d", manifest.MaxExactFeatures, d)
	}
	return m.explained(manifest.ExplainExact, func(x *explain.Explainer) (*explain.Explanation, error) { return x.Exact(ctx, in) })
}

// ExplainOcclusion replaces one feature at a time with that of the reference row.
func (m *Model) ExplainOcclusion(ctx context.Context, in *sdk.Batch) (*explain.Explanation, error) {
	return m.explained(manifest.ExplainOcclusion, func(x *explain.Explainer) (*explain.Explanation, error) { return x.Occlusion(ctx, in) })
}

// explained explains a row by a method that needs a reference row.
func (m *Model) explained(method string, by func(*explain.Explainer) (*explain.Explanation, error)) (*explain.Explanation, error) {
	if m.reference == nil {
		return nil, fmt.Errorf("%w with a reference row", ErrNotExplained)
	}
	e, err := by(m.explainer())
	if err != nil {
		return nil, err
	}
	e.Method = method
	return e, nil
}

func (m *Model) explainer() *explain.Explainer {
	return &explain.Explainer{Features: m.schema.Features(), Reference: m.reference, Evaluate: m.evaluate}
}

// evaluate scores row 0, which is to be explained, and its mixtures with the
// reference row.
func (m *Model) evaluate(ctx context.Context, batch *sdk.Batch) ([]float64, error) {
	f := make([]float64, batch.Rows())
	if err := m.slots.Calls().Admit(len(f)); err != nil {
		return nil, err
	}
	chunk := 0
	if m.Manifest.BatchDependent {
		chunk = 1 // score each row in a separate call, like a single row of a request
	}
	failed, faults, err := m.scoreRows(ctx, batch, chunk, f)
	m.slots.Calls().Dismiss(len(f))
	switch {
	case len(failed) > 0 && failed[0].Row == 0 && faults == len(failed): // the same as without an explanation
		return nil, batching.AsScoring(errors.New(failed[0].Reason))
	case len(failed) > 0:
		e := failed[0]
		if e.Row > 0 {
			e = sdk.RowError{Reason: "cannot be explained: a row between the reference row and this row fails: " + e.Reason}
		}
		return nil, &sdk.RowErrors{Rows: []sdk.RowError{e}}
	case err != nil:
		return nil, fmt.Errorf("explaining: %w", err)
	case !finite(f[0]):
		return nil, &nonfiniteError{sdk.RowErrors{Rows: []sdk.RowError{{Reason: notFinite}}}}
	case !allFinite(f):
		return nil, &sdk.RowErrors{Rows: []sdk.RowError{{Reason: "cannot be explained: a score between the reference row and this row is not finite"}}}
	}
	return f, nil
}

// explainNative calls the detector.
func (m *Model) explainNative(ctx context.Context, in *sdk.Batch) (*explain.Explanation, error) {
	if m.can.explainer == nil {
		return nil, fmt.Errorf("%w that this detector can follow: it does not explain itself", ErrNotExplained)
	}
	score, err := m.evaluate(ctx, in)
	if err != nil {
		return nil, err
	}
	out := make([]float64, 1+len(m.schema.Features()))
	if err := m.slots.Run(ctx, func(ctx context.Context) error { return m.can.explainer.Explain(ctx, in, out) }); err != nil {
		return nil, fmt.Errorf("explaining: %w", err)
	}
	if !allFinite(out) {
		return nil, &sdk.RowErrors{Rows: []sdk.RowError{{Reason: "cannot be explained: the detector's explanation is not finite"}}}
	}
	for i := range out {
		out[i] *= m.Manifest.Output.Sign()
	}
	e := m.explainer().Attribute(in, []float64{score[0], out[0]}, out[1:], true)
	e.Method = manifest.ExplainNative
	e.Additive = math.Abs(e.Residual) <= m.Manifest.GoldenTolerance()*max(1, math.Abs(e.Score))
	return e, nil
}
