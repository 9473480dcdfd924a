package model

import (
	"cmp"
	"errors"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// ErrConflict means that what is asked for does not go with what is there.
var ErrConflict = errors.New("conflict")

// ErrNonfinite means that the score of the only row was NaN or infinite.
var ErrNonfinite = errors.New("the score is not finite")

// nonfiniteError is an ErrNonfinite and the *sdk.RowErrors that the caller is told.
type nonfiniteError struct{ rows sdk.RowErrors }

func (e *nonfiniteError) Error() string   { return e.rows.Error() }
func (e *nonfiniteError) Unwrap() []error { return []error{ErrNonfinite, &e.rows} }

// Refusal marks what a backend says of a model that it does not open. What of it are the
// host's own words everybody is told.
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

// RetryAfter is what a client is told to wait when a model is unavailable.
const RetryAfter = time.Second

// UnavailableError is an ErrUnavailable with the reason and a time after
// which it is worth asking again.
type UnavailableError struct {
	ID, Version string
	Reason      string
	RetryAfter  time.Duration

	Public  string // in place of Reason, for those who are not the host's operators; empty: Reason
	suspect bool   // this call's rows are what ended the detector
}

// Error names the model and the reason.
func (e *UnavailableError) Error() string { return e.text(e.Reason) }

// PublicText is Error without what is for the host's operators alone.
func (e *UnavailableError) PublicText() string { return e.text(cmp.Or(e.Public, e.Reason)) }

func (e *UnavailableError) text(reason string) string {
	name := e.ID
	if e.Version != "" {
		name += " " + e.Version
	}
	return "model " + name + " is unavailable: " + reason
}

// Suspect reports whether this call's rows are what ended the detector.
func (e *UnavailableError) Suspect() bool { return e.suspect }

// Is makes the error an ErrUnavailable.
func (e *UnavailableError) Is(target error) bool { return target == batching.ErrUnavailable }
