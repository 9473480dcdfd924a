package backends_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
)

func TestSurroundings(t *testing.T) {
	path := func(errno syscall.Errno) error { return &fs.PathError{Op: "open", Path: "x", Err: errno} }
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("line 3: unknown key"), false},
		{fmt.Errorf("%w: operator NonZero", backends.ErrRefused), false},
		{fmt.Errorf("reading: %w", path(syscall.ENOENT)), false},
		{fmt.Errorf("reading: %w", path(syscall.ELOOP)), false},
		{fmt.Errorf("reading: %w", path(syscall.EACCES)), true},
		{fmt.Errorf("reading: %w", path(syscall.ESTALE)), true},
		{fmt.Errorf("%w: starting the process: %w", backends.ErrRefused, path(syscall.EAGAIN)), true},
		{fmt.Errorf("%w: %w", backends.ErrRefused, errors.Join(errors.New("a"), path(syscall.ENOSPC))), true},
		{fmt.Errorf("%w: its process was killed", backends.ErrSurroundings), true},
		{fmt.Errorf("%w: ONNX models cannot be served", backends.ErrUnavailable), true},
		{fmt.Errorf("%w: it did not start in time: %w", backends.ErrRefused, context.DeadlineExceeded), true},
		{context.Canceled, true},
		{fmt.Errorf("%w: describe: %w", backends.ErrRefused, &backends.LateError{Err: context.DeadlineExceeded}), false},
	} {
		if got := backends.Surroundings(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}
