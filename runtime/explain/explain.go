// Package explain attributes the score of a row to its features, by Shapley values,
// computed or sampled, and by occlusion.
//
// It calls a function for scores and knows nothing of models. Package model chooses
// the method and calls detectors that explain themselves.
package explain

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Contribution is one feature's part of a score.
type Contribution struct {
	Feature      string
	Value        any // of the row
	Reference    any // of the reference row; nil for native explanations
	Contribution float64
}

// Explanation attributes an oriented score to features.
type Explanation struct {
	Method        string  // set by the caller
	BaseValue     float64 // oriented score of the reference row
	Score         float64 // oriented score of the row
	Additive      bool    // the contributions add up to Score - BaseValue
	Residual      float64 // Score - BaseValue - sum of contributions
	Evaluations   int     // number of rows scored
	Contributions []Contribution
}

// Explainer explains rows relative to a reference row.
type Explainer struct {
	Features  []sdk.Feature
	Reference *sdk.Batch // one row
	// Evaluate returns the oriented scores of the rows of a batch.
	Evaluate func(ctx context.Context, batch *sdk.Batch) ([]float64, error)
}

// Draw returns permutations random orders of d features. Equal seeds give equal
// orders.
func Draw(permutations, d int, seed int64) [][]int {
	rng := rand.New(rand.NewPCG(uint64(seed), 0))
	out := make([][]int, permutations)
	for k := range out {
		out[k] = rng.Perm(d)
	}
	return out
}

// Permutations is permutation Shapley (Castro et al. 2009, antithetic). A feature's
// contribution is the mean change of the score when the feature is added to those
// before it, over each permutation and its reverse. Absent features have the
// reference row's values. It scores 2 P (d - 1) + 2 rows.
func (x *Explainer) Permutations(ctx context.Context, in *sdk.Batch, permutations [][]int) (*Explanation, error) {
	d := len(x.Features)
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
	batch := x.composed(in, 2+len(walks)*(d-1))
	at := 2
	for _, w := range walks {
		for k := range d - 1 {
			x.reset(batch, at)
			for _, j := range w[:k+1] {
				batch.CopyCell(at, in, 0, j)
			}
			at++
		}
	}
	f, err := x.Evaluate(ctx, batch)
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
	return x.Attribute(in, f, phi, true), nil
}

// Exact computes Shapley values from all 2^d subsets of the d features, of which the
// caller must have few: phi_j = sum over S without j of |S|! (d-|S|-1)! / d! (f(S +
// j) - f(S)).
func (x *Explainer) Exact(ctx context.Context, in *sdk.Batch) (*Explanation, error) {
	d := len(x.Features)
	subsets := 1 << d
	batch := x.composed(in, subsets)
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
		x.reset(batch, row(subset))
		for j := range d {
			if subset>>j&1 == 1 {
				batch.CopyCell(row(subset), in, 0, j)
			}
		}
	}
	f, err := x.Evaluate(ctx, batch)
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
	return x.Attribute(in, f, phi, true), nil
}

// shapleyWeights returns s! (d-s-1)! / d! for every s below d.
func shapleyWeights(d int) []float64 {
	w := make([]float64, d)
	for s := range w {
		w[s] = math.Gamma(float64(s+1)) * math.Gamma(float64(d-s)) / math.Gamma(float64(d+1))
	}
	return w
}

// Occlusion returns f(x) - f(x with the feature from the reference row) as a
// feature's contribution. The contributions need not add up to the score; the
// residual is the difference.
func (x *Explainer) Occlusion(ctx context.Context, in *sdk.Batch) (*Explanation, error) {
	d := len(x.Features)
	batch := x.composed(in, d+2)
	for j := range d {
		batch.CopyRow(2+j, in, 0)
		batch.CopyCell(2+j, x.Reference, 0, j)
	}
	f, err := x.Evaluate(ctx, batch)
	if err != nil {
		return nil, err
	}
	phi := make([]float64, d)
	for j := range phi {
		phi[j] = f[0] - f[2+j]
	}
	return x.Attribute(in, f, phi, false), nil
}

// composed makes a batch whose row 0 is the row to explain and row 1 the reference
// row.
func (x *Explainer) composed(in *sdk.Batch, rows int) *sdk.Batch {
	batch := sdk.NewBatch(x.Features)
	batch.Resize(max(rows, 2))
	batch.CopyRow(0, in, 0)
	batch.CopyRow(1, x.Reference, 0)
	return batch
}

func (x *Explainer) reset(batch *sdk.Batch, row int) { batch.CopyRow(row, x.Reference, 0) }

// Attribute makes an explanation from the scores f (0: of the row, 1: of the
// reference row) and the contributions. The reference row may be nil.
func (x *Explainer) Attribute(in *sdk.Batch, f, phi []float64, additive bool) *Explanation {
	e := &Explanation{Score: f[0], BaseValue: f[1], Additive: additive, Evaluations: len(f)}
	e.Residual = e.Score - e.BaseValue
	for j, v := range phi {
		c := Contribution{Feature: x.Features[j].Name, Value: in.Value(0, j), Contribution: v}
		if x.Reference != nil {
			c.Reference = x.Reference.Value(0, j)
		}
		e.Contributions = append(e.Contributions, c)
		e.Residual -= v
	}
	return e
}
