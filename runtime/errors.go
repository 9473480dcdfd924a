package runtime

import (
	"errors"
	"time"
)

// The reasons why a request for a model fails, for errors.Is.
var (
	ErrModelNotFound    = errors.New("model not found")
	ErrVersionNotFound  = errors.New("version not found")
	ErrModelUnavailable = errors.New("model unavailable")
	ErrOverloaded       = errors.New("overloaded")
	ErrShuttingDown     = errors.New("shutting down")
	ErrAmbiguousModel   = errors.New("no model named")
	ErrConflict         = errors.New("conflict")
	// ErrCallerGone means that whoever asked has left: what was not done yet is not done.
	ErrCallerGone = errors.New("the client has gone")
	// ErrScoring wraps what a detector said when it failed on a whole batch.
	ErrScoring = errors.New("scoring failed")
	// ErrLate means that a call ran past its deadline and still runs: the batch
	// and the scores it was given belong to it and must not be used again.
	ErrLate = errors.New("the detector is still busy")
)

// retryAfter is what a client is told to wait when a model is unavailable.
const retryAfter = time.Second

// UnavailableError is an ErrModelUnavailable with the reason and a time after
// which it is worth asking again.
type UnavailableError struct {
	ID, Version string
	Reason      string
	RetryAfter  time.Duration

	suspect bool // this call's rows are what ended the detector
}

// Error names the model and the reason.
func (e *UnavailableError) Error() string {
	name := e.ID
	if e.Version != "" {
		name += " " + e.Version
	}
	return "model " + name + " is unavailable: " + e.Reason
}

// Is makes the error an ErrModelUnavailable.
func (e *UnavailableError) Is(target error) bool { return target == ErrModelUnavailable }
