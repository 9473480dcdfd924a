// Package offline scores rows of tables, with the pipeline that also answers
// requests.
//
// Package internal/table reads and writes the formats of tables.
package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	// detector, and calls each with the answer to each row, in order. It returns how
	// many rows failed.
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

// Score scores the rows of a table batch by batch, writes each with its answer, and
// closes the table. It returns how many rows there were and how many of them failed.
// An error that ends it names the row.
func Score(ctx context.Context, s Scorer, t table.Table, batch int) (total, failed int, err error) {
	for {
		s.Rows().Reset()
		n, err := t.Read(s.Rows(), batch)
		if errors.Is(err, io.EOF) {
			return total, failed, t.Close()
		}
		if err != nil {
			return total, failed, fmt.Errorf("after row %d: %w", total, err)
		}
		bad, err := s.Score(ctx, batch, t.Write)
		if err != nil {
			return total, failed, fmt.Errorf("scoring rows %d to %d: %w", total, total+n-1, err)
		}
		total += n
		failed += bad
	}
}

// Local scores with a model that is open in this process.
type Local struct {
	pipeline *predict.Pipeline
	model    *model.Model
	call     predict.Call
}

// NewLocal returns a Scorer for a model, which must stay open until Release.
func NewLocal(m *model.Model) *Local {
	l := &Local{pipeline: predict.New(predict.Config{Now: time.Now}, nil), model: m, call: predict.Call{Confidence: true}}
	l.pipeline.Use(&l.call, m)
	return l
}

// Release returns what the scorer has borrowed from the model.
func (l *Local) Release() { l.pipeline.Release(&l.call) }

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
		if err := each(i, answer(&row)); err != nil {
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

func answer(row *predict.Row) table.Answer {
	if row.Failed != nil {
		return table.Answer{Error: Reason(*row.Failed)}
	}
	a := table.Answer{Prediction: row.Value, Score: row.Score}
	if row.HasThreshold {
		anomaly := row.Anomaly
		a.Anomaly = &anomaly
	}
	if row.HasConfidence {
		confidence := row.Confidence
		a.Confidence = &confidence
	}
	if e := row.Explanation; e != nil {
		a.Explanation = &table.Explanation{Method: e.Method, BaseValue: e.BaseValue, Additive: e.Additive, Residual: e.Residual}
		for _, c := range e.Contributions {
			a.Explanation.Contributions = append(a.Explanation.Contributions, c.Contribution)
		}
	}
	return a
}
