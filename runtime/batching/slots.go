package batching

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/guard"
	"github.com/pynomaly/pynomaly-runtime/internal/trace"
	"github.com/pynomaly/pynomaly-runtime/internal/until"
)

// Slots are the calls that one detector may have at once. They are safe for
// concurrent use.
type Slots struct {
	calls   *Calls
	d       Detector
	merger  *merger // nil: rows of different requests are not merged
	free    chan struct{}
	workers chan struct{} // the host's, or the detector's own
	stuck   atomic.Int64
	sizes   sizes
	retain  func() (release func()) // set by Retain
	jobs    sync.Pool
	fill    Fill
	fillers sync.Pool // of *filler
	// running counts the calls and runners that use the detector, which is closed
	// after them.
	running sync.WaitGroup
}

// New returns the slots of a detector.
func New(calls *Calls, d Detector) *Slots {
	n, workers := cap(calls.workers), calls.workers
	info := d.Scorer.Info()
	if d.Remote {
		n = max(1, info.Concurrency)
		workers = make(chan struct{}, n) // while it waits, other detectors need not
	}
	if info.Concurrency > 0 {
		n = min(n, info.Concurrency)
	}
	if info.Stateful || d.Sequential {
		n = 1
	}
	s := &Slots{calls: calls, d: d, free: make(chan struct{}, n), workers: workers, fill: Fill{1, 1}, retain: func() func() { return func() {} }}
	if !d.Sequential && !d.Coupled && !info.Stateful {
		s.merger = newMerger(s)
	}
	return s
}

// Calls returns the limits of the whole host.
func (s *Slots) Calls() *Calls { return s.calls }

// Retain sets a function that keeps the detector loaded while a call runs. Call it
// before the first request.
func (s *Slots) Retain(retain func() (release func())) { s.retain = retain }

// Close waits for running calls and closes the detector.
func (s *Slots) Close() error {
	s.running.Wait()
	if err := guard.Call(s.d.Scorer.Close); err != nil {
		return fmt.Errorf("closing the detector: %w", err)
	}
	return nil
}

// Abandon closes in the background; Calls.Wait waits for it.
func (s *Slots) Abandon() { s.calls.Go(func() { _ = s.Close() }) }

// Guard calls the detector outside the slots and converts a panic to an error.
func (s *Slots) Guard(call func() error) error {
	err := guard.Call(call)
	if err == nil {
		return nil
	}
	var p *guard.PanicError
	if errors.As(err, &p) {
		s.d.Owner.Panicked(p)
	}
	return s.d.Owner.Translate(err)
}

// job is the state of one call. It is reused unless the call was late.
type job struct {
	done    chan error
	decided atomic.Bool // set by the first of the call's end and its deadline
}

// terminateGrace is how long after its deadline a call may return before it counts
// as stuck.
const terminateGrace = 30 * time.Millisecond

// Run makes one call of the detector, and returns by the deadline of ctx. If it
// returns ErrLate, the call still runs and uses the batch and the scores.
func (s *Slots) Run(ctx context.Context, call func(context.Context) error) error {
	span := until.SpanOf(ctx)
	wait := span.Child("wait")
	err := s.enter(ctx)
	wait.End()
	if err != nil {
		return err
	}
	score := span.Child("score")
	err = s.call(trace.With(ctx, score), call)
	endSpan(score, err)
	return err
}

// call makes a call in a slot that it has, and gives the slot back.
func (s *Slots) call(ctx context.Context, call func(context.Context) error) error {
	j, _ := s.jobs.Get().(*job)
	if j == nil {
		j = &job{done: make(chan error, 1)}
	}
	j.decided.Store(false)
	release := s.retain()
	s.calls.wg.Add(1)
	s.running.Add(1)
	// Waiting for a slot does not count as the detector's time.
	ctx, cancel := context.WithTimeout(ctx, s.d.Timeout)
	defer cancel()
	go func() {
		defer s.calls.wg.Done()
		err := s.Guard(func() error { return call(ctx) })
		s.running.Done()
		if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		late := !j.decided.CompareAndSwap(false, true)
		if late {
			s.stuck.Add(-1)
		}
		<-s.free
		release()
		j.done <- err
	}()
	select {
	case err := <-j.done:
		<-s.workers
		s.jobs.Put(j)
		return err
	case <-ctx.Done():
	}
	grace := time.NewTimer(terminateGrace)
	defer grace.Stop()
	select {
	case err := <-j.done:
		<-s.workers
		s.jobs.Put(j)
		return err
	case <-grace.C:
	}
	s.stuck.Add(1)
	if !j.decided.CompareAndSwap(false, true) { // it has just ended
		s.stuck.Add(-1)
		err := <-j.done
		<-s.workers
		s.jobs.Put(j)
		return err
	}
	<-s.workers
	return fmt.Errorf("%w: %w", ErrLate, ctx.Err())
}

// enter takes a slot of the detector and a worker of the host. It fails if the
// caller leaves while it waits.
func (s *Slots) enter(ctx context.Context) error {
	waited := false
	select {
	case s.free <- struct{}{}:
	default:
		if s.allStuck() {
			return s.unavailable()
		}
		if err := s.wait(ctx, s.free); err != nil {
			return err
		}
		waited = true
	}
	select {
	case s.workers <- struct{}{}:
	default:
		if err := s.wait(ctx, s.workers); err != nil {
			<-s.free
			return err
		}
		waited = true
	}
	if !waited {
		return nil
	}
	if err := HasLeft(ctx); err != nil {
		<-s.workers
		<-s.free
		return err
	}
	return nil
}

// tryEnter takes a slot and a worker if both are free.
func (s *Slots) tryEnter() bool {
	select {
	case s.free <- struct{}{}:
	default:
		return false
	}
	select {
	case s.workers <- struct{}{}:
		return true
	default:
		<-s.free
		return false
	}
}

// allStuck reports whether all slots are taken by calls past their deadline.
func (s *Slots) allStuck() bool { return s.stuck.Load() >= int64(cap(s.free)) }

func (s *Slots) unavailable() error {
	return s.d.Owner.Unavailable("all its calls are stuck past their deadline", s.d.Timeout)
}

func (s *Slots) wait(ctx context.Context, free chan<- struct{}) error {
	if s.calls.waiting.Add(1) > s.calls.most {
		s.calls.waiting.Add(-1)
		return fmt.Errorf("%w: %d calls are waiting already", ErrOverloaded, s.calls.most)
	}
	defer s.calls.waiting.Add(-1)
	select {
	case free <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for a free worker: %w", ctx.Err())
	}
}
