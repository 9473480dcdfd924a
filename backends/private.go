package backends

import (
	"errors"
	"fmt"
)

// PrivateError is an error whose text only the host's operators may read. The
// text may contain words of a plugin or library, and so anything that these
// were ever given, or paths of this machine.
type PrivateError struct {
	Public string // the text for everybody else
	Err    error
}

// Error returns the whole text.
func (e *PrivateError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *PrivateError) Unwrap() error { return e.Err }

// PublicText implements the interface that the function PublicText looks for.
func (e *PrivateError) PublicText() string { return e.Public }

// OwnError is an error in the host's own words, such as why a backend refuses
// an artifact or which bound was exceeded. It contains no words of plugins or
// libraries and no paths, so that everybody may read it.
type OwnError struct{ Err error }

// Error returns the text of Err.
func (e *OwnError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *OwnError) Unwrap() error { return e.Err }

// Ownf returns an OwnError, formatted as by fmt.Errorf.
func Ownf(format string, args ...any) error { return &OwnError{fmt.Errorf(format, args...)} }

// PublicText returns the text of an error that everybody may read. That is the
// public text of err or of an error that it wraps, or else err.Error().
func PublicText(err error) string {
	var e interface {
		error
		PublicText() string
	}
	if errors.As(err, &e) {
		return e.PublicText()
	}
	return err.Error()
}
