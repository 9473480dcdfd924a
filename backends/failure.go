package backends

import (
	"context"
	"errors"
	"syscall"
)

// ErrSurroundings is wrapped by errors that the machine's state caused, such as a
// full disk or a lack of descriptors. Such an error says nothing about the
// artifact: the same load may succeed later.
var ErrSurroundings = errors.New("it cannot be loaded for now")

// LateError wraps the error of a context that ended while the artifact was in
// use. The artifact had the processor for much of that time: it is slow, not
// the machine.
type LateError struct{ Err error }

// Error returns the text of the context's error.
func (e *LateError) Error() string { return e.Err.Error() }

// Unwrap returns the error of the context.
func (e *LateError) Unwrap() error { return e.Err }

// Surroundings reports whether a load failed because of the machine's state.
// All other failures are verdicts on the artifact and hold until its files
// change.
//
// A failure is the machine's if it wraps an errno that only the machine's state
// can cause, even below ErrRefused. A context that ended is also the machine's
// failure, because elapsed time does not measure an artifact, unless it is a
// LateError.
func Surroundings(err error) bool {
	var late *LateError
	var errno syscall.Errno
	switch {
	case errors.Is(err, ErrSurroundings), errors.Is(err, ErrUnavailable):
		return true
	case errors.As(err, &late):
		return false
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return true
	}
	return errors.As(err, &errno) && surroundings(errno)
}

// surroundings reports whether an errno is about the machine and not about a
// file's name or contents.
func surroundings(errno syscall.Errno) bool {
	switch errno {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN, syscall.ENOBUFS, // resources
		syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EROFS, // room
		syscall.EACCES, syscall.EPERM, // permissions do not belong to a file's contents
		syscall.EIO, syscall.ESTALE, syscall.ENOTCONN, syscall.ETIMEDOUT, syscall.EHOSTDOWN,
		syscall.ENXIO, syscall.ENODEV, remoteIO, // file systems that fail
		syscall.EINTR, syscall.EBUSY, syscall.ETXTBSY:
		return true
	}
	return false
}
