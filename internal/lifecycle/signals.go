package lifecycle

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// BySignal is the cause of a context that a signal has ended.
type BySignal struct{ signal syscall.Signal }

func (s BySignal) Error() string { return "stopped by signal " + s.signal.String() }

// ExitCode is what a shell would show.
func (s BySignal) ExitCode() int { return 128 + int(s.signal) }

// Interruptible returns a context that ends with the first signal to stop. A second
// one ends the process at once, wherever it is, and so does the end of patience; 0 is
// endless.
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

// Survive keeps signals from ending the process that others than its operator
// bring about: the reader of its log goes away, or its terminal does; the log is
// larger than a file may be. Writing fails instead. What arrives on the returned
// channel is a SIGHUP, or a SIGUSR1 or SIGUSR2.
//
// They are caught and not ignored, since ignored signals stay so in child processes.
func Survive() (<-chan os.Signal, func()) {
	caught := make(chan os.Signal, 4)
	signal.Notify(caught, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	failed := make(chan os.Signal, 1) // nobody reads it: the write has failed, too
	signal.Notify(failed, syscall.SIGPIPE, syscall.SIGXFSZ)
	return caught, func() {
		signal.Stop(caught)
		signal.Stop(failed)
	}
}
