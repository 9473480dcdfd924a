package testkit

import (
	"fmt"
	"math"
	"os"

	"encoding/binary"

	"github.com/pynomaly/pynomaly-runtime/internal/stats"
)

// Answer is a host's response for one row.
type Answer struct {
	Score, Prediction float64
	Anomaly           bool
	Confidence        float64
}

// Check compares an answer with the expected one of row i under a calibration
// method.
func (c *Case) Check(i int, method string, a Answer) error {
	want := c.Expected.Scores[i]
	tolerance := c.Expected.Tolerance
	if d := math.Abs(a.Score - want.Oriented); !(d <= tolerance) {
		return fmt.Errorf("score %v, want %v: off by %v, allowed %v", a.Score, want.Oriented, d, tolerance)
	}
	value, allowed := want.ECDF, want.ECDFSlack+1e-12
	switch method {
	case "linear":
		value, allowed = want.Linear, tolerance/(c.Facts.Max-c.Facts.Min)+1e-12
	case "unify":
		value, allowed = want.Unify, tolerance*math.Sqrt(2/math.Pi)/c.Facts.Sigma+1e-12
	}
	if d := math.Abs(a.Prediction - value); !(d <= allowed) {
		return fmt.Errorf("%s prediction %v, want %v: off by %v, allowed %v", method, a.Prediction, value, d, allowed)
	}
	if !want.NearThreshold && a.Anomaly != want.IsAnomaly {
		return fmt.Errorf("is_anomaly %v, want %v", a.Anomaly, want.IsAnomaly)
	}
	confidence := stats.ExCeeD(c.Facts.N, stats.CountAtMost(c.scores, a.Score), c.Facts.Gamma)
	if !a.Anomaly {
		confidence = 1 - confidence
	}
	if d := math.Abs(a.Confidence - confidence); !(d <= 1e-9) {
		return fmt.Errorf("confidence %v, want %v", a.Confidence, confidence)
	}
	return nil
}

func (c *Case) trainScores() ([]float64, error) {
	data, err := os.ReadFile(Testdata("models", c.Name, "1.0.0", "train_scores.f64"))
	if err != nil {
		return nil, fmt.Errorf("reading the training scores: %w", err)
	}
	out := make([]float64, len(data)/8)
	for i := range out {
		out[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:]))
	}
	return out, nil
}
