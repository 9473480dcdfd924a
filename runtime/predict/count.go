package predict

import (
	"context"
	"errors"

	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/stats"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// count counts each row of an answered call once, by its outcome. Only count and
// Lose count rows, whatever transport brought them.
func (p *Pipeline) count(c *Call, r *Result, o model.Outcome) {
	if c.Replay {
		return
	}
	threshold, _ := r.Model.Threshold()
	r.Anomalies = r.Model.Stats.Record(&stats.Call{
		Scores: r.scores, Failed: r.failed, Nonfinite: o.Nonfinite, Faults: o.Faults, Unread: len(r.unread), Threshold: threshold,
	})
}

// Lose counts the rows of a call that is not answered because of an error. Do calls
// it for its own errors.
func (p *Pipeline) Lose(c *Call, err error) {
	if c.Replay || c.model == nil {
		return
	}
	unread := len(c.rows.Failed())
	read := c.rows.Total() - unread
	s := c.model.Stats
	if read == 1 && errors.Is(err, model.ErrNonfinite) {
		s.Record(&stats.Call{Scores: make([]float64, 1), Failed: []sdk.RowError{{}}, Nonfinite: 1, Unread: unread})
		return
	}
	s.Lost(kindOf(err), read, unread)
}

// kindOf returns why the rows of a call that failed were not scored.
func kindOf(err error) stats.Kind {
	var failed *sdk.RowErrors
	switch {
	case errors.As(err, &failed):
		return stats.RowError
	case errors.Is(err, batching.ErrUnavailable):
		return stats.ModelUnavailable
	case errors.Is(err, batching.ErrOverloaded):
		return stats.Overloaded
	case errors.Is(err, batching.ErrCallerGone):
		return stats.ClientGone
	case errors.Is(err, context.DeadlineExceeded):
		return stats.DeadlineExceeded
	case errors.Is(err, model.ErrNotExplained):
		return stats.ValidationError
	case errors.Is(err, batching.ErrScoring):
		return stats.ScoringError
	}
	return stats.InternalError
}
