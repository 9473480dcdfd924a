package model

import (
	"context"
	"math"
	"sort"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Prediction is the result for one row.
type Prediction struct {
	Score         float64 // oriented: higher is more anomalous
	Value         float64 // calibrated to 0..1, or Score
	Calibrated    bool
	Anomaly       bool
	HasThreshold  bool // false: Anomaly is meaningless
	Confidence    float64
	HasConfidence bool
}

// NoConfidence returns why a model's predictions have no confidence, or "" if they
// have.
func (m *Model) NoConfidence() string {
	if m.confidence != nil {
		return ""
	}
	return "the manifest has no confidence section"
}

// Threshold returns the oriented score above which a row is an anomaly, or false if
// the model has none.
func (m *Model) Threshold() (float64, bool) {
	if m.Manifest.Threshold == nil {
		return math.Inf(1), false
	}
	return *m.Manifest.Threshold, true
}

// Judge makes the prediction for an oriented, finite score.
func (m *Model) Judge(score float64, confidence bool) Prediction {
	threshold, has := m.Threshold()
	p := Prediction{Score: score, Value: score, Anomaly: score > threshold, HasThreshold: has}
	rank := m.calibration.rank(score)
	if m.calibration != nil {
		p.Value, p.Calibrated = m.calibration.of(score, rank), true
	}
	if confidence && m.confidence != nil {
		p.Confidence, p.HasConfidence = m.confidence.of(rank, p.Anomaly), true
	}
	return p
}

// Outcome describes the rows of one call.
type Outcome struct {
	Failed    []sdk.RowError // rows without a score, in order
	Nonfinite int            // those of Failed whose score was NaN or infinite
	Faults    int            // those of Failed at which the detector failed, as opposed to refusing the row
}

// Predict writes the oriented score of every row of in to out. It calls the detector
// with at most chunk rows at a time. It returns the failed rows in order, including
// those whose score is not finite; the error is about the whole request. After
// ErrLate the caller must not use in and out again. Predict counts nothing.
func (m *Model) Predict(ctx context.Context, in *sdk.Batch, chunk int, out []float64) ([]sdk.RowError, error) {
	o, err := m.Do(ctx, in, chunk, out)
	return o.Failed, err
}

// Do is Predict for callers that count the outcome of rows.
func (m *Model) Do(ctx context.Context, in *sdk.Batch, chunk int, out []float64) (o Outcome, err error) {
	if err := m.slots.Calls().Admit(in.Rows()); err != nil {
		return o, err
	}
	o.Failed, o.Faults, err = m.scoreRows(ctx, in, chunk, out)
	m.slots.Calls().Dismiss(len(out))
	if err != nil {
		return Outcome{}, err
	}
	if o.Failed == nil && allFinite(out) {
		return o, nil
	}
	known := map[int]bool{}
	for _, e := range o.Failed {
		known[e.Row] = true
	}
	for i, v := range out {
		if !finite(v) && !known[i] {
			o.Failed = append(o.Failed, sdk.RowError{Row: i, Reason: notFinite})
			o.Nonfinite++
		}
	}
	sort.SliceStable(o.Failed, func(i, j int) bool { return o.Failed[i].Row < o.Failed[j].Row })
	return o, nil
}

// score fills out with the oriented scores of in. Failed rows are returned as
// *sdk.RowErrors.
func (m *Model) score(ctx context.Context, in *sdk.Batch, out []float64) error {
	failed, _, err := m.scoreRows(ctx, in, 0, out)
	if err == nil && failed != nil {
		err = &sdk.RowErrors{Rows: failed}
	}
	return err
}

// scoreRows scores at most chunk rows at a time. It returns the failed rows, and at
// how many of them the detector failed.
func (m *Model) scoreRows(ctx context.Context, in *sdk.Batch, chunk int, out []float64) (failed []sdk.RowError, faults int, err error) {
	if m.Manifest.Stateful {
		failed, err = m.scoreInOrder(ctx, in, chunk, out)
	} else {
		failed, faults, err = m.slots.Score(ctx, in, chunk, out)
	}
	if err != nil {
		return nil, 0, err
	}
	m.orient(out)
	return failed, faults, nil
}

// orient negates scores if necessary, so that higher is more anomalous.
func (m *Model) orient(out []float64) {
	if m.Manifest.Output.HigherIsNormal {
		for i, v := range out {
			out[i] = 0 - v // 0 - 0 is 0; -0 would be printed as such
		}
	}
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
