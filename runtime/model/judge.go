package model

import (
	"context"
	"errors"
	"math"
	"sort"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Prediction is what is answered for one row.
type Prediction struct {
	Score         float64 // oriented: higher is more anomalous
	Value         float64 // calibrated to 0..1, or Score
	Calibrated    bool
	Anomaly       bool
	HasThreshold  bool // false: Anomaly means nothing
	Confidence    float64
	HasConfidence bool
}

// NoConfidence says why a model's predictions have no confidence; empty when
// they have one.
func (m *Model) NoConfidence() string {
	if m.confidence != nil {
		return ""
	}
	return "the manifest has no confidence section"
}

// Threshold is the oriented score above which a row is an anomaly; false: the
// model has none.
func (m *Model) Threshold() (float64, bool) {
	if m.Manifest.Threshold == nil {
		return math.Inf(1), false
	}
	return *m.Manifest.Threshold, true
}

// Judge makes the prediction of an oriented, finite score.
func (m *Model) Judge(score float64, confidence bool) Prediction {
	threshold, has := m.Threshold()
	p := Prediction{Score: score, Value: score, Anomaly: score > threshold, HasThreshold: has}
	if m.calibration != nil {
		p.Value, p.Calibrated = m.calibration.of(score), true
	}
	if confidence && m.confidence != nil {
		p.Confidence, p.HasConfidence = m.confidence.of(score, p.Anomaly), true
	}
	return p
}

// Predict writes the oriented score of every row of in to out, calling the
// detector with at most chunk rows at a time. Rows that failed, non-finite
// scores among them, come back in order; the error is for the whole request.
// After ErrLate neither in nor out may be used again.
func (m *Model) Predict(ctx context.Context, in *sdk.Batch, chunk int, out []float64) ([]sdk.RowError, error) {
	return m.predict(ctx, in, chunk, out, true)
}

// Replay is Predict of rows that count nowhere. It must not be called for stateful
// models.
func (m *Model) Replay(ctx context.Context, in *sdk.Batch, chunk int, out []float64) ([]sdk.RowError, error) {
	return m.predict(ctx, in, chunk, out, false)
}

func (m *Model) predict(ctx context.Context, in *sdk.Batch, chunk int, out []float64, counted bool) ([]sdk.RowError, error) {
	if err := m.slots.Calls().Admit(in.Rows()); err != nil {
		return nil, err
	}
	err := m.score(ctx, in, chunk, out)
	m.slots.Calls().Dismiss(len(out))
	var failed *sdk.RowErrors
	if err != nil && !errors.As(err, &failed) {
		return nil, err
	}
	if counted {
		good := scored(out, failed)
		m.Count(good)
		m.Stats.RowsFailed(len(out) - len(good))
	}
	if failed == nil && allFinite(out) {
		return nil, nil
	}
	var bad []sdk.RowError
	known := map[int]bool{}
	if failed != nil {
		bad = failed.Rows
		for _, e := range bad {
			known[e.Row] = true
		}
	}
	for i, v := range out {
		if !finite(v) && !known[i] {
			bad = append(bad, sdk.RowError{Row: i, Reason: notFinite})
		}
	}
	sort.SliceStable(bad, func(i, j int) bool { return bad[i].Row < bad[j].Row })
	return bad, nil
}

// score fills out with the oriented scores of in, calling the detector with at
// most chunk rows at a time. Rows that fail come back as *sdk.RowErrors.
func (m *Model) score(ctx context.Context, in *sdk.Batch, chunk int, out []float64) error {
	var failed []sdk.RowError
	var err error
	if m.Manifest.Stateful {
		failed, err = m.scoreInOrder(ctx, in, chunk, out)
	} else {
		failed, err = m.slots.Score(ctx, in, chunk, out)
	}
	if err != nil {
		return err
	}
	return m.orient(out, failed)
}

// orient turns scores so that higher is more anomalous.
func (m *Model) orient(out []float64, failed []sdk.RowError) error {
	if m.Manifest.Output.HigherIsNormal {
		for i, v := range out {
			out[i] = 0 - v // 0 - 0 is 0, where -0 would be printed as such
		}
	}
	if failed != nil {
		return &sdk.RowErrors{Rows: failed}
	}
	return nil
}

// scored are the scores of the rows that did not fail.
func scored(out []float64, failed *sdk.RowErrors) []float64 {
	if failed == nil {
		return out
	}
	bad := map[int]bool{}
	for _, e := range failed.Rows {
		bad[e.Row] = true
	}
	var good []float64
	for i, v := range out {
		if !bad[i] {
			good = append(good, v)
		}
	}
	return good
}

func fillNaN(v []float64) {
	for i := range v {
		v[i] = math.NaN()
	}
}

const notFinite = "the detector's score is not finite (NaN or infinite): check the row's values"

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func allFinite(v []float64) bool {
	for _, x := range v {
		if !finite(x) {
			return false
		}
	}
	return true
}

// Count records scores that were computed otherwise than by Predict, such as
// with an explanation.
func (m *Model) Count(scores []float64) {
	threshold, _ := m.Threshold()
	m.Stats.Record(scores, threshold)
}
