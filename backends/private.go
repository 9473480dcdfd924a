package backends

import "errors"

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
