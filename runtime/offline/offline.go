// Package offline scores rows that lie in tables, by the pipeline that requests take.
//
// Formats of tables are not here: see internal/table.
package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/printable"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/predict"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Score scores the rows of a table, a batch at a time, and writes each with its
// answer. It closes the table at its end. It returns how many rows there were, and
// how many of them failed; an error ends it at a row that it names.
func Score(ctx context.Context, m *model.Model, t table.Table, batch int) (total, failed int, err error) {
	p := predict.New(predict.Config{Now: time.Now}, nil)
	c := predict.Call{Confidence: true, Chunk: batch}
	p.Use(&c, m)
	defer p.Release(&c)
	for {
		c.Rows().Reset()
		n, err := t.Read(c.Rows(), batch)
		if errors.Is(err, io.EOF) {
			return total, failed, t.Close()
		}
		if err != nil {
			return total, failed, fmt.Errorf("after row %d: %w", total, err)
		}
		result, err := p.Do(ctx, &c)
		if err != nil {
			return total, failed, fmt.Errorf("scoring rows %d to %d: %w", total, total+n-1, err)
		}
		var row predict.Row
		for i := 0; result.Next(&row); i++ {
			if err := t.Write(i, answer(&row)); err != nil {
				return total, failed, err
			}
		}
		total += n
		failed += result.Failed
	}
}

// Reason says why a row has no score, on one line that is fit for a terminal.
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
	return a
}
