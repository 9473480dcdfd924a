package runtime

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Contribution is one feature's part of a score.
type Contribution struct {
	Feature      string
	Value        any // the row's
	Reference    any // the reference row's; nil for native explanations
	Contribution float64
}

// Explanation attributes an oriented score to features.
type Explanation struct {
	Method        string
	BaseValue     float64 // oriented score of the reference row
	Score         float64 // oriented score of the row
	Additive      bool    // the contributions add up to Score - BaseValue
	Residual      float64 // Score - BaseValue - sum of contributions
	Evaluations   int     // rows scored
	Contributions []Contribution
}

// ErrNotExplained means that a model has nothing to explain its scores with.
var ErrNotExplained = errors.New("the model's manifest has no explanation section")

// Explain attributes the score of the only row of in, in one batch, by the
// manifest's method.
func (m *Model) Explain(ctx context.Context, in *sdk.Batch) (*Explanation, error) {
	e := m.Manifest.Explanation
	if e == nil {
		return nil, ErrNotExplained
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
		d := len(m.schema.Features())
		rng := rand.New(rand.NewPCG(uint64(e.Seed), 0))
		permutations := make([][]int, e.Permutations)
		for k := range permutations {
			permutations[k] = rng.Perm(d)
		}
		return m.ExplainPermutations(ctx, in, permutations)
	}
}

// ExplainPermutations is permutation Shapley (Castro et al. 2009, antithetic):
// the mean contribution of a feature when it is added to the ones before it, over
// each of the permutations and its reverse, absent features taken from the
// reference row. It takes 2 P (d - 1) + 2 rows.
func (m *Model) ExplainPermutations(ctx context.Context, in *sdk.Batch, permutations [][]int) (*Explanation, error) {
	d := len(m.schema.Features())
	walks := make([][]int, 0, 2*len(permutations))
	for _, p := range permutations {
		if len(p) != d {
			return nil, fmt.Errorf("a permutation has %d items; the model has %d features", len(p), d)
		}
		reverse := make([]int, d)
		for k, j := range p {
			reverse[d-1-k] = j
		}
		walks = append(walks, p, reverse)
	}
	batch, err := m.composed(in, 2+len(walks)*(d-1))
	if err != nil {
		return nil, err
	}
	at := 2
	for _, w := range walks {
		for k := range d - 1 {
			m.reset(batch, at)
			for _, j := range w[:k+1] {
				batch.CopyCell(at, in, 0, j)
			}
			at++
		}
	}
	f, err := m.evaluate(ctx, batch)
	if err != nil {
		return nil, err
	}
	phi := make([]float64, d)
	at = 2
	for _, w := range walks {
		before := f[1]
		for k, j := range w {
			after := f[0]
			if k < d-1 {
				after = f[at]
				at++
			}
			phi[j] += after - before
			before = after
		}
	}
	for j := range phi {
		phi[j] /= float64(len(walks))
	}
	return m.explained(in, manifest.ExplainPermutation, f, phi, true), nil
}

// ExplainExact computes Shapley values from all 2^d subsets of features:
// phi_j = sum over S without j of |S|! (d-|S|-1)! / d! (f(S + j) - f(S)).
func (m *Model) ExplainExact(ctx context.Context, in *sdk.Batch) (*Explanation, error) {
	d := len(m.schema.Features())
	if d > manifest.MaxExactFeatures {
		return nil, fmt.Errorf("exact explanations take at most %d features; the model has %d", manifest.MaxExactFeatures, d)
	}
	subsets := 1 << d
	batch, err := m.composed(in, subsets)
	if err != nil {
		return nil, err
	}
	// Rows 0 and 1 are the full and the empty subset; the others follow.
	row := func(subset int) int {
		switch subset {
		case subsets - 1:
			return 0
		case 0:
			return 1
		}
		return subset + 1
	}
	for subset := 1; subset < subsets-1; subset++ {
		m.reset(batch, row(subset))
		for j := range d {
			if subset>>j&1 == 1 {
				batch.CopyCell(row(subset), in, 0, j)
			}
		}
	}
	f, err := m.evaluate(ctx, batch)
	if err != nil {
		return nil, err
	}
	weights := shapleyWeights(d)
	phi := make([]float64, d)
	for subset := range subsets - 1 {
		size := 0
		for j := range d {
			size += subset >> j & 1
		}
		for j := range d {
			if subset>>j&1 == 0 {
				phi[j] += weights[size] * (f[row(subset|1<<j)] - f[row(subset)])
			}
		}
	}
	return m.explained(in, manifest.ExplainExact, f, phi, true), nil
}

// shapleyWeights returns s! (d-s-1)! / d! for every s below d.
func shapleyWeights(d int) []float64 {
	w := make([]float64, d)
	for s := range w {
		w[s] = math.Gamma(float64(s+1)) * math.Gamma(float64(d-s)) / math.Gamma(float64(d+1))
	}
	return w
}

// ExplainOcclusion takes f(x) - f(x with one feature from the reference row) as
// a feature's contribution. They need not add up: the residual says by how much.
func (m *Model) ExplainOcclusion(ctx context.Context, in *sdk.Batch) (*Explanation, error) {
	d := len(m.schema.Features())
	batch, err := m.composed(in, d+2)
	if err != nil {
		return nil, err
	}
	for j := range d {
		batch.CopyRow(2+j, in, 0)
		batch.CopyCell(2+j, m.reference, 0, j)
	}
	f, err := m.evaluate(ctx, batch)
	if err != nil {
		return nil, err
	}
	phi := make([]float64, d)
	for j := range phi {
		phi[j] = f[0] - f[2+j]
	}
	return m.explained(in, manifest.ExplainOcclusion, f, phi, false), nil
}

// composed makes a batch whose row 0 is the row to explain and row 1 the
// reference row.
func (m *Model) composed(in *sdk.Batch, rows int) (*sdk.Batch, error) {
	if m.reference == nil {
		return nil, fmt.Errorf("%w with a reference row", ErrNotExplained)
	}
	batch := sdk.NewBatch(m.schema.Features())
	batch.Resize(max(rows, 2))
	batch.CopyRow(0, in, 0)
	batch.CopyRow(1, m.reference, 0)
	return batch, nil
}

func (m *Model) reset(batch *sdk.Batch, row int) { batch.CopyRow(row, m.reference, 0) }

func (m *Model) evaluate(ctx context.Context, batch *sdk.Batch) ([]float64, error) {
	f := make([]float64, batch.Rows())
	if err := m.slots.calls.admit(len(f)); err != nil {
		return nil, err
	}
	err := m.score(ctx, batch, 0, f)
	m.slots.calls.dismiss(len(f))
	var failed *sdk.RowErrors
	switch {
	case errors.As(err, &failed):
		e := failed.Rows[0]
		if e.Row > 0 {
			e = sdk.RowError{Reason: "cannot be explained: a row between the reference row and this row fails: " + e.Reason}
		}
		return nil, &sdk.RowErrors{Rows: []sdk.RowError{e}}
	case err != nil:
		return nil, fmt.Errorf("explaining: %w", err)
	case !finite(f[0]):
		return nil, &sdk.RowErrors{Rows: []sdk.RowError{{Reason: notFinite}}}
	case !allFinite(f):
		return nil, &sdk.RowErrors{Rows: []sdk.RowError{{Reason: "cannot be explained: a score between the reference row and this row is not finite"}}}
	}
	return f, nil
}

// explained makes the answer from the scores f (0: the row's, 1: the
// reference's) and the contributions.
func (m *Model) explained(in *sdk.Batch, method string, f, phi []float64, additive bool) *Explanation {
	e := &Explanation{Method: method, Score: f[0], BaseValue: f[1], Additive: additive, Evaluations: len(f)}
	e.Residual = e.Score - e.BaseValue
	for j, v := range phi {
		c := Contribution{Feature: m.schema.Features()[j].Name, Value: in.Value(0, j), Contribution: v}
		if m.reference != nil {
			c.Reference = m.reference.Value(0, j)
		}
		e.Contributions = append(e.Contributions, c)
		e.Residual -= v
	}
	return e
}

// explainNative asks the detector itself.
func (m *Model) explainNative(ctx context.Context, in *sdk.Batch) (*Explanation, error) {
	if m.can.explainer == nil {
		return nil, fmt.Errorf("%w that this detector can follow: it does not explain itself", ErrNotExplained)
	}
	score, err := m.evaluate(ctx, in)
	if err != nil {
		return nil, err
	}
	out := make([]float64, 1+len(m.schema.Features()))
	if err := m.slots.run(ctx, func(ctx context.Context) error { return m.can.explainer.Explain(ctx, in, out) }); err != nil {
		return nil, fmt.Errorf("explaining: %w", err)
	}
	if !allFinite(out) {
		return nil, &sdk.RowErrors{Rows: []sdk.RowError{{Reason: "cannot be explained: the detector's explanation is not finite"}}}
	}
	for i := range out {
		out[i] *= m.Manifest.Output.Sign()
	}
	e := m.explained(in, manifest.ExplainNative, []float64{score[0], out[0]}, out[1:], true)
	e.Additive = math.Abs(e.Residual) <= m.Manifest.GoldenTolerance()*max(1, math.Abs(e.Score))
	return e, nil
}
