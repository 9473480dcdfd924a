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
	Writes  []string      // the directories below which it may write, where the kernel can keep it from doing so elsewhere
	Env     []string      // its whole environment
	Wall    time.Duration // most time, from the process's start; more where it gets little of the processors
	CPU     time.Duration // what the role hands to LimitSelf before it works on Input; 0: it does not limit itself
	Limiter *Limiter      // the process waits for its turn; nil: it does not
	Memory  int64         // bytes that the process is expected to need
}

// Cause says why a process came to no orderly end.
type Cause int

// The causes. The first ones say something about the job; from Starved on they
// are the machine's state.
const (
	Failed    Cause = iota // it ended with an error of its own
	Late                   // it took longer than Job.Wall, most of it on a processor
	Busy                   // it used more processor time than it may
	Large                  // it asked for more memory than it may
	Crashed                // a signal ended it
	Forbidden              // it made a system call for which Confine has it killed
	Starved                // it took longer than Job.Wall and got little of the processors
	Killed                 // somebody else killed it, such as the kernel's OOM killer
	Cramped                // a limit that this process has inherited, or the system's, left too little
	NotBegun               // it could not be started
	Cut                    // its output did not arrive
)

// Surroundings reports whether the machine's state is the cause, and not the job.
func (c Cause) Surroundings() bool { return c >= Starved }

// DiedError says that a process came to no orderly end.
type DiedError struct {
	Cause  Cause
	Err    error
	CPU    time.Duration // what it used
	Stderr string        // its beginning
}

// Error says what is known.
func (e *DiedError) Error() string {
	switch e.Cause {
	case Starved:
		return fmt.Sprintf("the machine is busy: its process got %v of processor time before its time was up", e.CPU.Round(time.Millisecond))
	case Killed:
		return "its process was killed (SIGKILL), as the kernel does when memory runs out"
	case NotBegun:
		return strings.TrimSuffix(fmt.Sprintf("starting its process: %v: %.300s", e.Err, e.Stderr), ": ")
	case Cut:
		return fmt.Sprintf("reading the answer of its process: %v", e.Err)
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
	// afterExit is how long the output of a process may take to arrive once it has
	// ended: on a busy machine the goroutines that read it wait for their turn.
	afterExit = 10 * time.Second
)

// Run runs a role and returns what it wrote to its standard output. The error is
// ctx's, or a *DiedError. Waiting for the limiter takes nothing from Job.Wall. The
// process and all that it started are gone afterwards.
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
	defer end() // not before: Pdeathsig is sent when the thread that started the process ends
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

// judge finds the cause of the end of a process. Where late is set, Run
// has killed it after that time.
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
	// Nothing of the job has been at work before the process limited itself.
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
		e.Cause, e.Err = Forbidden, errors.New("a system call that only a process makes which somebody else has taken over (SIGSYS)")
	case signal >= 0:
		e.Cause, e.Err = Crashed, fmt.Errorf("signal: %v", signal)
	case exit == nil:
		e.Cause = Cut // it ended well, but its output is not all here
	}
}

// offerToOOMKiller makes a process the first that the kernel kills when memory
// runs out, so that it does not kill the host. Where that is not allowed, nothing
// is lost but the preference.
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
