package batching

import (
	"context"
	"errors"
)

// The reasons why a call ends without scores. Test for them with errors.Is.
var (
	// ErrUnavailable means that a detector cannot be called at present.
	ErrUnavailable = errors.New("model unavailable")
	ErrOverloaded  = errors.New("overloaded")
	// ErrCallerGone means that the caller has left, so the remaining work was not
	// done.
	ErrCallerGone = errors.New("the client has gone")
	// ErrScoring wraps the detector's error when it failed on a whole batch.
	ErrScoring = errors.New("scoring failed")
	// ErrLate means that a call exceeded its deadline and still runs. It uses the
	// batch and the scores, so the caller must not use them again.
	ErrLate = errors.New("the detector is still busy")
)

// IsHost reports whether the host refused the call, not the detector.
func IsHost(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrOverloaded) || errors.Is(err, ErrLate) ||
		errors.Is(err, ErrCallerGone) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// isFault reports whether the detector failed, as opposed to refusing rows.
func isFault(err error) bool { return errors.Is(err, ErrScoring) }

// isSuspect reports whether a call's own rows made the detector unavailable.
func isSuspect(err error) bool {
	var u interface {
		error
		Suspect() bool
	}
	return errors.As(err, &u) && u.Suspect()
}

// AsScoring makes an error an ErrScoring. Only the host's operators may read the
// detector's text.
func AsScoring(err error) error {
	if isFault(err) {
		return err
	}
	return &scoringError{err}
}

type scoringError struct{ err error }

func (e *scoringError) Error() string   { return ErrScoring.Error() + ": " + e.err.Error() }
func (e *scoringError) Unwrap() []error { return []error{ErrScoring, e.err} }

// PublicText returns the text for everybody.
func (e *scoringError) PublicText() string {
	return "scoring failed: the detector failed at these rows, and the host's log says how"
}
