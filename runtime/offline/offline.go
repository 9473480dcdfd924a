// Package offline scores rows of tables, with the pipeline that also answers
// requests.
//
// Package internal/table reads and writes the formats of tables.
package offline

import (
	"context"
	"fmt"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/printable"
	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/predict"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Scorer scores rows. Its model may be in this process or on another host.
type Scorer interface {
	// Schema describes the rows.
	Schema() *rows.Schema
	// Rows returns the decoder into which the next rows are read.
	Rows() *rows.Decoder
	// Score scores the rows in Rows, with at most batch rows per call of the
	// detector, and calls each with the answer to each row, in order. The answer is valid
	// until each returns. Score returns how many rows failed.
	Score(ctx context.Context, batch int, each func(i int, a table.Answer) error) (failed int, err error)
	// Warnings returns what is odd about the model, as the models API says it.
	Warnings() []string
}

// Explainer is a Scorer that can explain scores.
type Explainer interface {
	Scorer
	// Explain makes each answer have an explanation. Call it before Score.
	Explain()
}

// Local scores with a model that is open in this process.
type Local struct {
	pipeline *predict.Pipeline
	model    *model.Model
	call     predict.Call
	copies   []*Local

	anomaly    bool // of the last answer
	confidence float64
}

var _ Parallel = (*Local)(nil)

// NewLocal returns a Scorer for a model, which must stay open until Release.
func NewLocal(m *model.Model) *Local {
	return newLocal(predict.New(predict.Config{Now: time.Now}, nil), m)
}

func newLocal(p *predict.Pipeline, m *model.Model) *Local {
	l := &Local{pipeline: p, model: m, call: predict.Call{Confidence: true}}
	p.Use(&l.call, m)
	return l
}

// Release returns what the scorer and its copies have borrowed from the model.
func (l *Local) Release() {
	l.pipeline.Release(&l.call)
	for _, c := range l.copies {
		c.Release()
	}
	l.copies = nil
}

// Copies implements Parallel.
func (l *Local) Copies(n int) []Scorer {
	all := []Scorer{l}
	if l.model.Manifest.Stateful {
		return all
	}
	for len(all) < n {
		c := newLocal(l.pipeline, l.model)
		c.call.Explanation = l.call.Explanation
		l.copies = append(l.copies, c)
		all = append(all, c)
	}
	return all
}

// Schema implements Scorer.
func (l *Local) Schema() *rows.Schema { return l.model.Schema() }

// Warnings implements Scorer.
func (l *Local) Warnings() []string { return l.model.Warnings }

// Rows implements Scorer.
func (l *Local) Rows() *rows.Decoder { return l.call.Rows() }

// Explain implements Explainer.
func (l *Local) Explain() { l.call.Explanation = true }

// Score implements Scorer.
func (l *Local) Score(ctx context.Context, batch int, each func(int, table.Answer) error) (failed int, err error) {
	l.call.Chunk = batch
	result, err := l.pipeline.Do(ctx, &l.call)
	if err != nil {
		return 0, err //nolint:wrapcheck // the caller says which rows it was
	}
	var row predict.Row
	for i := 0; result.Next(&row); i++ {
		if err := each(i, l.answer(&row)); err != nil {
			return 0, err
		}
	}
	return result.Failed, nil
}

// Reason returns why a row has no score, as one line that is safe for a terminal.
func Reason(e sdk.RowError) string {
	if e.Field == "" {
		return printable.Line(e.Reason)
	}
	return printable.Line(fmt.Sprintf("feature %q %s", e.Field, e.Reason))
}

// answer returns an answer, which is valid until the next call.
func (l *Local) answer(row *predict.Row) table.Answer {
	if row.Failed != nil {
		return table.Answer{Error: Reason(*row.Failed)}
	}
	a := table.Answer{Prediction: row.Value, Score: row.Score}
	if row.HasThreshold {
		l.anomaly = row.Anomaly
		a.Anomaly = &l.anomaly
	}
	if row.HasConfidence {
		l.confidence = row.Confidence
		a.Confidence = &l.confidence
	}
	if e := row.Explanation; e != nil {
		a.Explanation = &table.Explanation{Method: e.Method, BaseValue: e.BaseValue, Additive: e.Additive, Residual: e.Residual}
		for _, c := range e.Contributions {
			a.Explanation.Contributions = append(a.Explanation.Contributions, c.Contribution)
		}
	}
	return a
}
