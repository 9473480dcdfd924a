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

// LateError is the end of a context that came while an artifact was at work and had
// the processor for much of its time: the artifact is slow, and not the machine.
type LateError struct{ Err error }

// Error is that of the context.
func (e *LateError) Error() string { return e.Err.Error() }

// Unwrap returns the error of the context.
func (e *LateError) Unwrap() error { return e.Err }

// Surroundings reports whether a load failed because of the machine's state. All
// other failures are verdicts on the artifact, which hold until its files change.
//
// A wrapped errno that only the machine's state explains decides, even below
// ErrRefused. So does the end of a context, unless it is a LateError: the time that
// passed is no measure of an artifact.
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

// surroundings reports whether an errno is about the machine and not about what a
// file is named or holds.
func surroundings(errno syscall.Errno) bool {
	switch errno {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN, syscall.ENOBUFS, // resources
		syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EROFS, // room
		syscall.EACCES, syscall.EPERM, // permissions, which are no part of a file's contents
		syscall.EIO, syscall.ESTALE, syscall.ENOTCONN, syscall.ETIMEDOUT, syscall.EHOSTDOWN,
		syscall.ENXIO, syscall.ENODEV, remoteIO, // file systems that fail
		syscall.EINTR, syscall.EBUSY, syscall.ETXTBSY:
		return true
	}
	return false
}
