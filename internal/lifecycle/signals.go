package lifecycle

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// BySignal is the cause of a context that a signal ended.
type BySignal struct{ signal syscall.Signal }

func (s BySignal) Error() string { return "stopped by signal " + s.signal.String() }

// ExitCode returns the exit code that a shell would report.
func (s BySignal) ExitCode() int { return 128 + int(s.signal) }

// Interruptible returns a context that ends with the first signal to stop. A second
// signal, or the end of patience after the first, ends the process at once; a
// patience of 0 has no end. A second signal that is SIGQUIT prints the stacks of all
// goroutines first, as in other Go programs: it asks what a stop waits for.
func Interruptible(ctx context.Context, patience time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		var first BySignal
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
			if second == syscall.SIGQUIT {
				printStacks(os.Stderr)
			}
			os.Exit(BySignal{second}.ExitCode())
		case <-over:
			os.Exit(first.ExitCode())
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

// printStacks prints the stacks of all goroutines. It gives up after a second, because to
// may be a pipe that nobody reads.
func printStacks(to io.Writer) {
	const most = 16 << 20 // bytes
	text := make([]byte, 1<<20)
	n := runtime.Stack(text, true)
	for n == len(text) && n < most {
		text = make([]byte, 2*n)
		n = runtime.Stack(text, true)
	}
	printed := make(chan error, 1)
	go func() {
		_, err := to.Write(text[:n])
		printed <- err
	}()
	_ = WaitFor(printed, time.Second) // there is nowhere else to say that it failed
}

// Survive keeps the process alive on signals that somebody else causes: the reader
// of its log or its terminal goes away, or the log exceeds the limit of a file's
// size. Writing fails instead. The returned channel receives SIGHUP, SIGUSR1 and
// SIGUSR2.
//
// The signals are caught, not ignored, because child processes inherit ignored
// signals.
func Survive() (<-chan os.Signal, func()) {
	caught := make(chan os.Signal, 4)
	signal.Notify(caught, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	failed := make(chan os.Signal, 1) // never read: the write has failed, too
	signal.Notify(failed, syscall.SIGPIPE, syscall.SIGXFSZ)
	return caught, func() {
		signal.Stop(caught)
		signal.Stop(failed)
	}
}
