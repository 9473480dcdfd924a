package backends

import (
	"errors"
	"fmt"
)

// PrivateError is an error whose text is for the operators of a host: it may hold the
// words of a plugin or a library, which can be anything that these were ever given, or
// paths of this machine.
type PrivateError struct {
	Public string // what everybody may be told in its place
	Err    error
}

// Error is the whole text.
func (e *PrivateError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *PrivateError) Unwrap() error { return e.Err }

// PublicText implements the interface that the function PublicText looks for.
func (e *PrivateError) PublicText() string { return e.Public }

// OwnError is an error in the host's own words: a backend says why it refuses an
// artifact, or what bound was passed. It holds no words of plugins or libraries and no
// paths, so that everybody may be told.
type OwnError struct{ Err error }

// Error is that of Err.
func (e *OwnError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *OwnError) Unwrap() error { return e.Err }

// Ownf makes an OwnError as fmt.Errorf does an error.
func Ownf(format string, args ...any) error { return &OwnError{fmt.Errorf(format, args...)} }

// PublicText returns what everybody may be told of an error: its text, unless the error
// or one that it wraps has another one for that.
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
