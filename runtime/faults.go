package runtime

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// faults are the rows of one request at which the detector failed, other than by a
// word on the row.
type faults struct {
	model *Model
	rows  int   // in all
	inRow int   // since it has last scored
	last  error // an ErrScoring
}

// mostFaults is after how many in a row the rest of a request is not tried any more: a
// detector that is out of something fails at every row.
const mostFaults = 16

// isFault reports whether the detector failed, other than by a word on the rows.
func isFault(err error) bool { return errors.Is(err, ErrScoring) }

// asScoring makes an error an ErrScoring.
func asScoring(err error) error {
	if isFault(err) {
		return err
	}
	const public = "scoring failed: the detector failed at these rows, and the host's log says how"
	return &backends.PrivateError{Public: public, Err: fmt.Errorf("%w: %w", ErrScoring, err)}
}

// add counts rows that failed with an error, and names them.
func (f *faults) add(rows int, err error) []sdk.RowError {
	f.rows += rows
	f.inRow += rows
	f.last = err
	reason := f.model.reason(err)
	failed := make([]sdk.RowError, rows)
	for i := range failed {
		failed[i] = sdk.RowError{Row: i, Reason: reason}
	}
	return failed
}

// reason is what a client is told of a row at which the detector failed. The words of
// the detector, which may hold what others have sent, are for the log of a host; where
// there is none, whoever opened the model reads them.
func (m *Model) reason(err error) string {
	if m.witness == nil {
		return "the detector failed: " + strings.TrimPrefix(err.Error(), ErrScoring.Error()+": ")
	}
	m.witness.note(m, err)
	return "the detector failed: the host's log says how"
}

// witness logs how a detector fails: of rows and of panics one a second at most.
type witness struct {
	log          *slog.Logger
	now          func() time.Time
	rows, panics atomic.Int64 // when it logs the next one, in nanoseconds since 1970
}

// isDue reports whether a second has passed since it last was.
func (w *witness) isDue(at *atomic.Int64) bool {
	now, next := w.now(), at.Load()
	return now.UnixNano() >= next && at.CompareAndSwap(next, now.Add(time.Second).UnixNano())
}

func (w *witness) panicked(m *Model, p *backends.PanicError) {
	if w.isDue(&w.panics) {
		w.log.Error("the detector panicked", "model_id", m.ID(), "version", m.Version(), "panic", fmt.Sprint(p.Value), "stack", string(p.Stack))
	}
}

func (w *witness) note(m *Model, err error) {
	if w.isDue(&w.rows) {
		w.log.Warn("the detector failed at a row", "model_id", m.ID(), "version", m.Version(), "error", err)
	}
}

// all is the error of a request of so many rows, if the detector failed at each.
func (f *faults) all(rows int) error {
	if rows > 0 && f.rows == rows {
		return f.last
	}
	return nil
}
