package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// interruptPatience is how long a command may take to end when it is interrupted.
const interruptPatience = 2 * time.Second

// stopsInOrder marks commands that take their time to stop, and bound it themselves.
const stopsInOrder = "stops-in-order"

// bySignal is why a context has ended.
type bySignal struct{ signal syscall.Signal }

func (s bySignal) Error() string { return "stopped by signal " + s.signal.String() }

// exitCode is what a shell would show.
func (s bySignal) exitCode() int { return 128 + int(s.signal) }

// interruptible returns a context that ends with the first signal to stop. A second
// one ends the process at once, wherever it is, and so does the end of patience; 0 is
// endless.
func interruptible(ctx context.Context, patience time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		var first bySignal
		select {
		case s := <-signals:
			first.signal, _ = s.(syscall.Signal)
			cancel(first)
		case <-done:
			return
		}
		var over <-chan time.Time
		if patience > 0 {
			t := time.NewTimer(patience)
			defer t.Stop()
			over = t.C
		}
		select {
		case s := <-signals:
			second, _ := s.(syscall.Signal)
			os.Exit(bySignal{second}.exitCode())
		case <-over:
			os.Exit(first.exitCode())
		case <-done:
		}
	})
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		wg.Wait()
		cancel(nil)
	}
}

// patienceWith says how long the command that the arguments name may take to end.
func patienceWith(root *cobra.Command, args []string) time.Duration {
	if c, _, err := root.Find(args); err == nil && c.Annotations[stopsInOrder] != "" {
		return 0
	}
	return interruptPatience
}

// survive keeps signals from ending the process that others than its operator
// bring about: the reader of its log goes away, or its terminal does; the log is
// larger than a file may be. Writing fails instead. What arrives on the returned
// channel is a SIGHUP, or a SIGUSR1 or SIGUSR2.
//
// They are caught and not ignored, since ignored signals stay so in child processes.
func survive() (<-chan os.Signal, func()) {
	caught := make(chan os.Signal, 4)
	signal.Notify(caught, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	failed := make(chan os.Signal, 1) // nobody reads it: the write has failed, too
	signal.Notify(failed, syscall.SIGPIPE, syscall.SIGXFSZ)
	return caught, func() {
		signal.Stop(caught)
		signal.Stop(failed)
	}
}

// interruptibleFile reads a file, such as a terminal or a pipe, until ctx ends.
type interruptibleFile struct {
	ctx  context.Context
	file *os.File
}

// inputLook is how often a read that waits for input looks at its context.
const inputLook = 100 * time.Millisecond

// Read implements io.Reader.
func (f *interruptibleFile) Read(p []byte) (int, error) {
	for {
		if err := f.ctx.Err(); err != nil {
			return 0, err
		}
		ready := []unix.PollFd{{Fd: int32(f.file.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, int(inputLook/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, fmt.Errorf("waiting for input: %w", err)
		}
		if n > 0 {
			return f.file.Read(p)
		}
	}
}
