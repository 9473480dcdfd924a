package peers

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// Tolerance is how far a score may be from scikit-learn's.
const Tolerance = 1e-5

// Decode returns the scores in an answer, as scikit-learn's decision_function gives
// them: higher for normal rows.
type Decode func(answer []byte) ([]float64, error)

// DecodeScores reads {"scores": [...]}, as the servers in this directory answer.
func DecodeScores(answer []byte) ([]float64, error) {
	var a struct{ Scores []float64 }
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, fmt.Errorf("reading an answer: %w", err)
	}
	return a.Scores, nil
}

// DecodeTensor reads the first tensor of an answer of the Open Inference Protocol.
func DecodeTensor(answer []byte) ([]float64, error) {
	var a struct{ Outputs []struct{ Data []float64 } }
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, fmt.Errorf("reading an answer: %w", err)
	}
	if len(a.Outputs) == 0 {
		return nil, errors.New("reading an answer: it has no outputs")
	}
	return a.Outputs[0].Data, nil
}

// DecodeHost reads an answer of this project's host, to a single row or to a batch.
// The host serves the scores of a graph as they are, unless it knows that they are
// higher for normal rows.
func DecodeHost(answer []byte) ([]float64, error) { return decodeHost(answer, 1) }

// DecodeOriented is DecodeHost for a graph whose scores the host negates, so that they
// are higher for anomalies.
func DecodeOriented(answer []byte) ([]float64, error) { return decodeHost(answer, -1) }

func decodeHost(answer []byte, sign float64) ([]float64, error) {
	type row struct {
		Score *float64 `json:"score"` // absent in rows that failed
	}
	var a struct {
		row
		Predictions []row `json:"predictions"` // of a batch
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, fmt.Errorf("reading an answer: %w", err)
	}
	if a.Score != nil {
		a.Predictions = []row{a.row}
	}
	out := make([]float64, len(a.Predictions))
	for i, p := range a.Predictions {
		if p.Score == nil {
			return nil, fmt.Errorf("reading an answer: row %d has no score", i)
		}
		out[i] = sign * *p.Score
	}
	return out, nil
}

// Check decodes an answer to the first rows and compares their scores with the
// reference, which is repeated if it has fewer rows.
func Check(answer []byte, decode Decode, reference []float64, rows int) error {
	got, err := decode(answer)
	if err != nil {
		return err
	}
	if len(got) != rows {
		return fmt.Errorf("wrong answer: %d scores for %d rows", len(got), rows)
	}
	for i, score := range got {
		want := reference[i%len(reference)]
		if !(math.Abs(score-want) <= Tolerance) { // NaN is wrong
			return fmt.Errorf("wrong answer: the score of row %d is %v, not %v", i, score, want)
		}
	}
	return nil
}
