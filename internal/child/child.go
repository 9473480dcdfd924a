// Package child runs a role of the host's binary in a child process, so that work on
// untrusted input can be limited and can crash without ending the host.
//
// The binary must look for its role before it does anything else. Each role is
// defined by the package that uses it.
package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Job is one run of a role.
type Job struct {
	Exe     string        // the binary; empty: this one
	Role    string        // its only argument
	Input   []byte        // its standard input
	Writes  []string      // the process may create files only below these directories, if the kernel can enforce it
	Env     []string      // its whole environment
	Wall    time.Duration // elapsed time since the process's start; longer if the machine is busy
	CPU     time.Duration // the limit that the role passes to LimitSelf before it reads Input; 0: it does not call LimitSelf
	Limiter *Limiter      // the process waits for its turn; nil: it does not
	Memory  int64         // bytes that the process is expected to need
}

// Cause says why a process failed.
type Cause int

// The causes. Those before Starved are about the job, the others about the machine's
// state.
const (
	Failed    Cause = iota // it exited with an error
	Late                   // it took longer than Job.Wall, most of it on a processor
	Busy                   // it used more than its processor time
	Large                  // it asked for more than its memory
	Crashed                // a signal ended it
	Forbidden              // it made a system call for which Confine has it killed
	Starved                // it took longer than Job.Wall but had little processor time
	Killed                 // another process or the kernel killed it, for example the OOM killer
	Cramped                // an inherited or system limit left too little
	NotBegun               // it could not be started
	Cut                    // its output did not arrive
)

// Surroundings reports whether the machine's state is the cause, and not the job.
func (c Cause) Surroundings() bool { return c >= Starved }

// DiedError says that a process failed.
type DiedError struct {
	Cause  Cause
	Err    error
	CPU    time.Duration // processor time that it used
	Stderr string        // its first bytes
}

// Error describes the failure.
func (e *DiedError) Error() string {
	switch e.Cause {
	case Starved:
		return fmt.Sprintf("the machine is busy: its process got %v of processor time before its time was up", e.CPU.Round(time.Millisecond))
	case Killed:
		return "its process was killed (SIGKILL), as the kernel does when memory runs out"
	case NotBegun:
		return strings.TrimSuffix(fmt.Sprintf("starting its process: %v: %.300s", e.Err, e.Stderr), ": ")
	case Cut:
		return fmt.Sprintf("reading the output of its process: %v", e.Err)
	case Failed, Late, Busy, Large, Crashed, Forbidden, Cramped:
	}
	if e.Stderr == "" {
		return e.Err.Error()
	}
	return fmt.Sprintf("%v: %.300s", e.Err, e.Stderr)
}

// Unwrap returns the error of the process.
func (e *DiedError) Unwrap() error { return e.Err }

const (
	maxOutput = 64 << 10
	maxStderr = 8 << 10
	// afterExit is how long the output of a process may take to arrive after its
	// end: on a busy machine the goroutines that read it must wait for a processor.
	afterExit = 10 * time.Second
)

// Run runs a role and returns what it wrote to its standard output. The error is
// ctx's, or a *DiedError. The time spent waiting for the limiter does not count for
// Job.Wall. When Run returns, the process and all its descendants have ended.
func Run(ctx context.Context, job Job) ([]byte, error) {
	release, err := job.Limiter.Acquire(ctx, job.Memory)
	if err != nil {
		return nil, err
	}
	defer release()
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	exe := job.Exe
	if exe == "" {
		if exe, err = self(); err != nil {
			return nil, &DiedError{Cause: NotBegun, Err: err}
		}
	}
	cmd := exec.CommandContext(limited, exe, job.Role) //nolint:gosec // the host's binary, in a role that is a constant
	cmd.Env = append([]string{"GOTRACEBACK=none"}, job.Env...)
	cmd.SysProcAttr = apart()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = afterExit
	stdout, stderr := &bounded{most: maxOutput}, &bounded{most: maxStderr}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(job.Input), stdout, stderr
	var late time.Duration
	end, err := startShut(cmd, job.Writes)
	defer end() // not earlier: Pdeathsig is sent when the thread that started the process ends
	if err == nil {
		offerToOOMKiller(cmd.Process.Pid)
		c := startClock(job.Wall, cmd.Process.Pid, cancel)
		err = cmd.Wait()
		late = c.stop()
	}
	switch {
	case err == nil:
		return stdout.Bytes(), nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	died := &DiedError{Err: err, Stderr: stderr.String()}
	if cmd.ProcessState == nil {
		died.Cause = NotBegun
		return nil, died
	}
	died.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	died.judge(job, late)
	return nil, died
}

// judge finds out why a process ended. late is the time after which Run killed it,
// or 0.
func (e *DiedError) judge(job Job, late time.Duration) {
	var exit *exec.ExitError
	var signal syscall.Signal = -1
	if errors.As(e.Err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			signal = status.Signal()
		}
	}
	says := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(e.Stderr, w) })
	}
	// Before the process limited itself, it did not work on the job.
	begun := job.CPU == 0 || says(limited)
	cramped := says(inherited)
	for _, line := range []string{limited, inherited} {
		e.Stderr = strings.Replace(e.Stderr, line, "", 1)
	}
	// The kernel counts in ticks, and sends SIGKILL a second after SIGXCPU.
	spent := job.CPU > 0 && e.CPU >= job.CPU-job.CPU/10
	switch {
	case late > 0 && (!begun || e.CPU < late/starvedShare):
		e.Cause = Starved
	case late > 0:
		e.Cause = Late
	case signal == syscall.SIGXCPU, says("SIGXCPU"), signal == syscall.SIGKILL && spent:
		e.Cause = Busy
	case signal == syscall.SIGKILL:
		e.Cause = Killed
	case !begun:
		e.Cause = NotBegun
	case says("out of memory", "bad_alloc", "cannot allocate memory", "failed to allocate", "address space collisions"): // the last with -race
		e.Cause = Large
		if cramped {
			e.Cause, e.Err = Cramped, fmt.Errorf("%w: %w", ErrCramped, e.Err)
		}
	case says("failed to create new OS thread", "pthread_create failed", "newosproc"):
		e.Cause = Cramped
	case signal == syscall.SIGSYS:
		e.Cause, e.Err = Forbidden, errors.New("it made a system call that only a hijacked process makes (SIGSYS)")
	case signal >= 0:
		e.Cause, e.Err = Crashed, fmt.Errorf("signal: %v", signal)
	case exit == nil:
		e.Cause = Cut // it succeeded, but its output is incomplete
	}
}

// offerToOOMKiller makes a process the first one that the kernel kills when memory
// runs out, to protect the host. It ignores errors.
func offerToOOMKiller(pid int) {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("1000"), 0)
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
