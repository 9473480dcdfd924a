package predict

import (
	"time"

	"github.com/pynomaly/pynomaly-runtime/runtime/explain"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Result is the answer to a call. Next returns its rows in order.
type Result struct {
	Model       *model.Model
	Time        time.Time // of the prediction
	Latency     time.Duration
	Total       int // number of rows in the call
	Failed      int // number of failed rows
	Anomalies   int
	Explanation *explain.Explanation // of a single row, if requested

	explanations []*explain.Explanation // of the rows of a batch, by the index in scores; nil: not requested
	confidence   bool
	scores       []float64      // of the rows that could be read
	failed       []sdk.RowError // ascending, by the index in scores
	unread       []sdk.RowError // ascending, by the row
	row, next    int            // index of the row, and in scores
	problem      sdk.RowError
}

// Row is the answer to one row.
type Row struct {
	model.Prediction
	Explanation *explain.Explanation // of a row of a batch, if requested
	Failed      *sdk.RowError        // why there is none, with the row's number; valid until the next call of Next
}

// Next sets to to the answer for the next row. It returns false after the last one.
func (r *Result) Next(to *Row) bool {
	if r.row == r.Total {
		return false
	}
	row := r.row
	r.row++
	if len(r.unread) > 0 && r.unread[0].Row == row {
		to.Failed = &r.unread[0]
		r.unread = r.unread[1:]
		return true
	}
	i := r.next
	r.next++
	if len(r.failed) > 0 && r.failed[0].Row == i {
		r.problem = r.failed[0]
		r.problem.Row = row
		r.failed = r.failed[1:]
		to.Failed = &r.problem
		return true
	}
	to.Failed = nil
	if r.explanations != nil {
		to.Explanation = r.explanations[i]
	}
	to.Prediction = r.Model.Judge(r.scores[i], r.confidence)
	return true
}
