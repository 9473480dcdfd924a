// Package child runs a role of the host's own binary in a process of its own, so
// that work on untrusted input can be limited and can die alone.
//
// The binary must look for its roles before it does anything else; what a role
// does is its package's.
package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Job is one run of a role.
type Job struct {
	Exe   string   // the binary; empty: this one
	Role  string   // its only argument
	Input []byte   // its standard input
	Env   []string // its whole environment
	Wall  time.Duration
}

// Cause says why a process came to no orderly end.
type Cause int

// The causes.
const (
	Failed  Cause = iota // it ended with an error of its own
	Late                 // it took longer than Job.Wall
	Busy                 // it used more processor time than it may
	Large                // it asked for more memory than it may
	Crashed              // a signal ended it
)

// DiedError says that a process came to no orderly end.
type DiedError struct {
	Cause  Cause
	Err    error
	Stderr string // its beginning
}

// Error says what is known.
func (e *DiedError) Error() string { return fmt.Sprintf("%v: %.300s", e.Err, e.Stderr) }

// Unwrap returns the error of the process.
func (e *DiedError) Unwrap() error { return e.Err }

const (
	maxOutput = 64 << 10
	maxStderr = 8 << 10
)

// Run runs a role and returns what it wrote to its standard output. The error is
// ctx's, or a *DiedError. The process and all that it started are gone afterwards.
func Run(ctx context.Context, job Job) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, job.Wall)
	defer cancel()
	// Pdeathsig fires when the thread that started the child ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	exe := job.Exe
	if exe == "" {
		exe = "/proc/self/exe"
	}
	cmd := exec.CommandContext(limited, exe, job.Role) //nolint:gosec // the host's binary, in a role that is a constant
	cmd.Env = append([]string{"GOTRACEBACK=none"}, job.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	stdout, stderr := &bounded{most: maxOutput}, &bounded{most: maxStderr}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(job.Input), stdout, stderr
	err := cmd.Run()
	switch {
	case err == nil:
		return stdout.Bytes(), nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	died := &DiedError{Err: err, Stderr: stderr.String()}
	if limited.Err() != nil {
		died.Cause = Late
		return nil, died
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status, _ := exit.Sys().(syscall.WaitStatus)
		switch {
		case status.Signaled() && (status.Signal() == syscall.SIGXCPU || status.Signal() == syscall.SIGKILL):
			died.Cause = Busy
		case strings.Contains(died.Stderr, "out of memory"), strings.Contains(died.Stderr, "bad_alloc"), strings.Contains(died.Stderr, "cannot allocate memory"):
			died.Cause = Large
		case status.Signaled():
			died.Cause, died.Err = Crashed, fmt.Errorf("signal: %v", status.Signal())
		}
	}
	return nil, died
}

// bounded keeps the first most bytes written to it.
type bounded struct {
	bytes.Buffer
	most int
}

func (b *bounded) Write(p []byte) (int, error) {
	if room := b.most - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
