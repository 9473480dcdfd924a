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

// Surroundings reports whether a load failed because of the machine's state. All
// other failures are verdicts on the artifact, which hold until its files change.
//
// A wrapped errno that only the machine's state explains decides, even below
// ErrRefused. So does the end of a context: the time that passed is no measure of
// an artifact. A backend that has measured the artifact's processor time says so
// with ErrRefused and does not wrap the context's error.
func Surroundings(err error) bool {
	if errors.Is(err, ErrSurroundings) || errors.Is(err, ErrUnavailable) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	var errno syscall.Errno
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
		syscall.ENXIO, syscall.ENODEV, syscall.EREMOTEIO, // file systems that fail
		syscall.EINTR, syscall.EBUSY, syscall.ETXTBSY:
		return true
	}
	return false
}
