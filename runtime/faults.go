package runtime

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// faults are the rows of one request at which the detector failed, other than by a
// word on the row.
type faults struct {
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
	return fmt.Errorf("%w: %w", ErrScoring, err)
}

// add counts rows that failed with an error, and names them.
func (f *faults) add(rows int, err error) []sdk.RowError {
	f.rows += rows
	f.inRow += rows
	f.last = err
	reason := "the detector failed: " + strings.TrimPrefix(err.Error(), ErrScoring.Error()+": ")
	failed := make([]sdk.RowError, rows)
	for i := range failed {
		failed[i] = sdk.RowError{Row: i, Reason: reason}
	}
	return failed
}

// all is the error of a request of so many rows, if the detector failed at each.
func (f *faults) all(rows int) error {
	if rows > 0 && f.rows == rows {
		return f.last
	}
	return nil
}
