package wasm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// NewScorer returns a Scorer that calls d natively, as a host would call a
// module. The features are those of s or, if it has none, those that d
// describes. The Scorer takes one call at a time.
func NewScorer(d Detector, s Setup) (sdk.Scorer, error) {
	description := d.Describe()
	dtype, err := sdk.ParseDType(description.DType)
	if err != nil || !dtype.Numeric() {
		return nil, fmt.Errorf("dtype %q is not float32, float64 or int64", description.DType)
	}
	if s.Features == nil {
		for _, name := range description.Features {
			s.Features = append(s.Features, Feature{Name: name, DType: description.DType})
		}
	}
	n := &native{detector: d, info: sdk.Info{
		Name: description.Name, Version: description.Version, Algorithm: description.Algorithm,
		Concurrency: 1, Stateful: description.Stateful,
	}}
	if description.Features != nil && !slices.EqualFunc(description.Features, s.Features, func(name string, f Feature) bool { return name == f.Name }) {
		return nil, fmt.Errorf("the features are not %v, as the detector describes them", description.Features)
	}
	for _, f := range s.Features {
		if f.DType != "" && f.DType != description.DType {
			return nil, fmt.Errorf("feature %q is %s, but the detector takes %s", f.Name, f.DType, description.DType)
		}
		n.info.Features = append(n.info.Features, sdk.Feature{Name: f.Name, DType: dtype})
	}
	if s.DType == "" {
		s.DType = description.DType
	}
	if s.DType != description.DType {
		return nil, fmt.Errorf("dtype %s is not %s, the dtype of the detector", s.DType, description.DType)
	}
	if d.Init != nil {
		if err := d.Init(s); err != nil {
			return nil, fmt.Errorf("initialising: %w", err)
		}
	}
	return n, nil
}

// native implements Scorer with a Detector.
type native struct {
	detector Detector
	info     sdk.Info
}

func (n *native) matrix(in *sdk.Batch) Matrix {
	return Matrix{Rows: in.Rows(), Cols: len(n.info.Features), Float32s: in.Float32s(), Float64s: in.Float64s(), Int64s: in.Int64s()}
}

// Info implements sdk.Scorer.
func (n *native) Info() sdk.Info { return n.info }

// Close implements sdk.Scorer.
func (n *native) Close() error { return nil }

// Score implements sdk.Scorer.
func (n *native) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	if err := ctx.Err(); err != nil || in.Rows() == 0 {
		return err
	}
	for i := range out {
		out[i] = math.NaN() // as the host does: still NaN means not scored
	}
	return n.detector.Score(n.matrix(in), out)
}

// Explain implements sdk.Explainer.
func (n *native) Explain(ctx context.Context, in *sdk.Batch, out []float64) error {
	if n.detector.Explain == nil {
		return errNoExplain
	}
	if err := ctx.Err(); err != nil || in.Rows() == 0 {
		return err
	}
	return n.detector.Explain(n.matrix(in), out)
}

// Learn implements sdk.Learner.
func (n *native) Learn(ctx context.Context, in *sdk.Batch) error {
	if n.detector.Learn == nil {
		return errNoLearn
	}
	if err := ctx.Err(); err != nil || in.Rows() == 0 {
		return err
	}
	return n.detector.Learn(n.matrix(in))
}

// Save implements sdk.Snapshotter.
func (n *native) Save(context.Context) ([]byte, error) {
	if n.detector.Save == nil {
		return nil, errNoState
	}
	return n.detector.Save()
}

// Load implements sdk.Snapshotter.
func (n *native) Load(_ context.Context, state []byte) error {
	if n.detector.Load == nil {
		return errNoState
	}
	if len(state) == 0 {
		return errors.New("a snapshot of 0 bytes cannot be loaded")
	}
	return n.detector.Load(state)
}

var (
	_ sdk.Scorer      = (*native)(nil)
	_ sdk.Explainer   = (*native)(nil)
	_ sdk.Learner     = (*native)(nil)
	_ sdk.Snapshotter = (*native)(nil)
)
