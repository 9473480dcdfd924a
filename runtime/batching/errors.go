package batching

import (
	"context"
	"errors"
)

// The reasons why a call ends without scores, for errors.Is.
var (
	// ErrUnavailable means that a detector cannot be called for now.
	ErrUnavailable = errors.New("model unavailable")
	ErrOverloaded  = errors.New("overloaded")
	// ErrCallerGone means that whoever asked has left: what was not done yet is not done.
	ErrCallerGone = errors.New("the client has gone")
	// ErrScoring wraps what a detector said when it failed on a whole batch.
	ErrScoring = errors.New("scoring failed")
	// ErrLate means that a call ran past its deadline and still runs: the batch
	// and the scores it was given belong to it and must not be used again.
	ErrLate = errors.New("the detector is still busy")
)

// IsHost reports whether the host, not the detector, said no.
func IsHost(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrOverloaded) || errors.Is(err, ErrLate) ||
		errors.Is(err, ErrCallerGone) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// isFault reports whether the detector failed, other than by a word on the rows.
func isFault(err error) bool { return errors.Is(err, ErrScoring) }

// isSuspect reports whether a call's own rows made the detector unavailable.
func isSuspect(err error) bool {
	var u interface {
		error
		Suspect() bool
	}
	return errors.As(err, &u) && u.Suspect()
}

// AsScoring makes an error an ErrScoring. What the detector said is for the host's
// operators.
func AsScoring(err error) error {
	if isFault(err) {
		return err
	}
	return &scoringError{err}
}

type scoringError struct{ err error }

func (e *scoringError) Error() string   { return ErrScoring.Error() + ": " + e.err.Error() }
func (e *scoringError) Unwrap() []error { return []error{ErrScoring, e.err} }

// PublicText is what everybody may be told in place of Error.
func (e *scoringError) PublicText() string {
	return "scoring failed: the detector failed at these rows, and the host's log says how"
}
