package model

import (
	"cmp"
	"errors"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// ErrConflict means that a request does not fit the present state.
var ErrConflict = errors.New("conflict")

// ErrNonfinite means that the score of the only row was NaN or infinite.
var ErrNonfinite = errors.New("the score is not finite")

// nonfiniteError is an ErrNonfinite with the *sdk.RowErrors for the caller.
type nonfiniteError struct{ rows sdk.RowErrors }

func (e *nonfiniteError) Error() string   { return e.rows.Error() }
func (e *nonfiniteError) Unwrap() []error { return []error{ErrNonfinite, &e.rows} }

// Refusal marks a backend's error about a model that it does not open. Everybody may
// read the parts of it that are the host's own words.
func Refusal(backend string, err error) error {
	if err == nil {
		return nil
	}
	why := "the host's log says why"
	if own := (*backends.OwnError)(nil); errors.As(err, &own) {
		why = own.Error()
	}
	public := "the " + backend + " backend refuses it: " + why
	if backends.Surroundings(err) {
		public = "the " + backend + " backend cannot open it for now: " + why
	}
	return &backends.PrivateError{Public: public, Err: err}
}

// RetryAfter is how long a client should wait when a model is unavailable.
const RetryAfter = time.Second

// UnavailableError is an ErrUnavailable with the reason and the time after which to
// retry.
type UnavailableError struct {
	ID, Version string
	Reason      string
	RetryAfter  time.Duration

	Public  string // replaces Reason for those who are not the host's operators; empty: Reason
	suspect bool   // this call's rows ended the detector
}

// Error names the model and the reason.
func (e *UnavailableError) Error() string { return e.text(e.Reason) }

// PublicText is Error without what only the host's operators may read.
func (e *UnavailableError) PublicText() string { return e.text(cmp.Or(e.Public, e.Reason)) }

func (e *UnavailableError) text(reason string) string {
	name := e.ID
	if e.Version != "" {
		name += " " + e.Version
	}
	return "model " + name + " is unavailable: " + reason
}

// Suspect reports whether this call's rows ended the detector.
func (e *UnavailableError) Suspect() bool { return e.suspect }

// Is makes the error an ErrUnavailable.
func (e *UnavailableError) Is(target error) bool { return target == batching.ErrUnavailable }
