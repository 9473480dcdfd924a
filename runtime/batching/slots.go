package batching

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/guard"
)

// Slots are the calls that one detector may have at once. They are safe for concurrent
// use.
type Slots struct {
	calls   *Calls
	d       Detector
	merger  *merger // nil: rows of different requests stay apart
	free    chan struct{}
	workers chan struct{} // the host's, or the detector's own
	stuck   atomic.Int64
	sizes   sizes
	retain  func() (release func()) // set by Retain
	jobs    sync.Pool
	fill    Fill
	fillers sync.Pool // of *filler
	// running are the calls and runners that use the detector: it is closed after them.
	running sync.WaitGroup
}

// New returns the slots of a detector.
func New(calls *Calls, d Detector) *Slots {
	n, workers := cap(calls.workers), calls.workers
	info := d.Scorer.Info()
	if d.Remote {
		n = max(1, info.Concurrency)
		workers = make(chan struct{}, n) // others need not wait while it waits
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

// Calls are those of the whole host.
func (s *Slots) Calls() *Calls { return s.calls }

// Retain sets what keeps the detector loaded while a call runs. Set it before the first
// request.
func (s *Slots) Retain(retain func() (release func())) { s.retain = retain }

// Close waits for the calls that run and closes the detector.
func (s *Slots) Close() error {
	s.running.Wait()
	if err := guard.Call(s.d.Scorer.Close); err != nil {
		return fmt.Errorf("closing the detector: %w", err)
	}
	return nil
}

// Abandon is Close for what nobody waits for but Calls.Wait.
func (s *Slots) Abandon() { s.calls.Go(func() { _ = s.Close() }) }

// Guard makes a call into the detector outside of the slots. A panic ends that call and
// nothing else.
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

// job is one call on its way; it is reused unless it came late.
type job struct {
	done    chan error
	decided atomic.Bool // by whoever is first: the call's end or its deadline
}

// terminateGrace is how long past its deadline a call may take to notice it
// before it counts as stuck.
const terminateGrace = 30 * time.Millisecond

// Run makes one call of the detector, and returns by the deadline of ctx. An
// ErrLate means that call goes on with the batch and the scores it was given.
func (s *Slots) Run(ctx context.Context, call func(context.Context) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	j, _ := s.jobs.Get().(*job)
	if j == nil {
		j = &job{done: make(chan error, 1)}
	}
	j.decided.Store(false)
	release := s.retain()
	s.calls.wg.Add(1)
	s.running.Add(1)
	// Waiting for a slot is not the detector's time.
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
	if !j.decided.CompareAndSwap(false, true) { // it ended just now
		s.stuck.Add(-1)
		err := <-j.done
		<-s.workers
		s.jobs.Put(j)
		return err
	}
	<-s.workers
	return fmt.Errorf("%w: %w", ErrLate, ctx.Err())
}

// enter takes a slot of the detector and a worker of the host, unless the caller has
// left while it waited for them.
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

// allStuck reports whether no slot will be free until a call returns that should
// have long ago.
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
