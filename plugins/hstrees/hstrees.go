// Package hstrees is the streaming detector half-space trees (Tan, Ting and Liu
// 2011), with the details of river's HalfSpaceTrees. It is stateful: the host scores
// each row and then makes the detector learn it.
package hstrees

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

// Algorithm names the detector.
const Algorithm = "HalfSpaceTrees"

// The files that Fit writes and the detector reads: the configuration of the trees,
// and the state after the training rows.
const (
	File      = "half_space_trees.json"
	StateFile = "half_space_trees.state"
)

// config is the configuration from which the trees are drawn.
type config struct {
	Trees  int          `json:"trees"`
	Height int          `json:"height"`
	Window int          `json:"window"`
	Seed   uint64       `json:"seed"`
	Limits [][2]float64 `json:"limits"` // lowest and highest value of each feature
}

// New returns the detector. A row's score is 1 minus the mass around it that the
// trees counted in the last complete window, as a share of the largest possible
// mass. The score is 0 in the first window, and near 1 for a row unlike all before.
// A missing value (NaN) follows most rows of the present window.
func New() wasm.Detector {
	m := &model{}
	return wasm.Detector{
		Describe: func() wasm.Description {
			return wasm.Description{Name: "hstrees", Version: "1.0.0", Algorithm: Algorithm, DType: "float64", Stateful: true}
		},
		Init:  m.init,
		Score: m.score,
		Learn: m.learn,
		Save:  func() ([]byte, error) { return m.forest.save(), nil },
		Load:  func(state []byte) error { return m.forest.load(state) },
	}
}

type model struct{ forest *forest }

func (m *model) init(s wasm.Setup) error {
	var c config
	if err := json.Unmarshal(s.Files[File], &c); err != nil {
		return fmt.Errorf("%w: %s: %w", fit.ErrFile, File, err)
	}
	if len(c.Limits) != len(s.Features) {
		return fmt.Errorf("%w: %s has limits of %d features, not %d", fit.ErrFile, File, len(c.Limits), len(s.Features))
	}
	var err error
	if m.forest, err = draw(c); err != nil {
		return err
	}
	if state, ok := s.Files[StateFile]; ok {
		return m.forest.load(state)
	}
	return nil
}

func (m *model) check(in wasm.Matrix) error {
	if in.Cols != m.forest.features {
		return fmt.Errorf("rows have %d columns, not %d", in.Cols, m.forest.features)
	}
	return nil
}

func (m *model) score(in wasm.Matrix, out []float64) error {
	if err := m.check(in); err != nil {
		return err
	}
	for i := range in.Rows {
		out[i] = m.forest.score(in.Float64s[i*in.Cols : (i+1)*in.Cols])
	}
	return nil
}

func (m *model) learn(in wasm.Matrix) error {
	if err := m.check(in); err != nil {
		return err
	}
	for i := range in.Rows {
		m.forest.learn(in.Float64s[i*in.Cols : (i+1)*in.Cols])
	}
	return nil
}

// Fit draws trees over the range of the training rows, widened by a tenth on both
// sides, and makes them learn the rows in order. The scores are those of the rows
// after the first window, computed before the row was learned.
func Fit(d fit.Data, o fit.Options) (fit.Result, error) {
	if err := d.Check(); err != nil {
		return fit.Result{}, err
	}
	if d.Rows < 2*o.Window {
		return fit.Result{}, fmt.Errorf("%d rows are too few for a window of %d rows: at least two windows are needed (--window sets the rows of a window)", d.Rows, o.Window)
	}
	c := config{Trees: o.Trees, Height: o.Height, Window: o.Window, Seed: o.Seed}
	for j := range d.Cols {
		low, high := math.Inf(1), math.Inf(-1)
		for _, v := range d.Column(j) {
			low, high = min(low, v), max(high, v)
		}
		const margin = 0.1
		pad := (high - low) * margin
		c.Limits = append(c.Limits, [2]float64{low - pad, high + pad})
	}
	f, err := draw(c)
	if err != nil {
		return fit.Result{}, err
	}
	var scores []float64
	for i := range d.Rows {
		if f.warm {
			scores = append(scores, f.score(d.Row(i)))
		}
		f.learn(d.Row(i))
	}
	text, err := json.Marshal(c)
	if err != nil {
		return fit.Result{}, fmt.Errorf("writing %s: %w", File, err)
	}
	return fit.Result{Files: map[string][]byte{File: append(text, '\n'), StateFile: f.save()}, Scores: scores}, nil
}
