package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/until"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Calls bounds how many calls into detectors run at once in the whole host.
//
// A call that runs past its deadline stops counting here, so that a detector
// that hangs takes nothing from the others; it still counts against its own
// model until it returns.
type Calls struct {
	workers  chan struct{}
	waiting  atomic.Int64
	most     int64
	rows     atomic.Int64 // that requests have brought and that are not answered
	mostRows int64        // 0: no bound
	wg       sync.WaitGroup
}

// maxWaiting is how many calls may wait for a worker or a slot.
const maxWaiting = 4096

// NewCalls allows the given number of calls at once.
func NewCalls(workers int) *Calls {
	return &Calls{workers: make(chan struct{}, max(1, workers)), most: maxWaiting}
}

// LimitRows bounds how many rows of all requests together may wait or be scored
// at once; 0 is no bound. Call it before the first request.
func (c *Calls) LimitRows(most int) { c.mostRows = int64(most) }

// Rows is how many rows wait or are being scored.
func (c *Calls) Rows() int64 { return c.rows.Load() }

// Full returns the ErrOverloaded that another request would meet now, or nil. It
// saves reading what would be refused.
func (c *Calls) Full() error {
	if c.mostRows > 0 && c.rows.Load() >= c.mostRows {
		return c.overloaded()
	}
	return nil
}

func (c *Calls) overloaded() error {
	return fmt.Errorf("%w: %d rows are waiting or being scored already (server.limits.waiting_rows)", ErrOverloaded, c.rows.Load())
}

// admit counts the rows of a request, until dismiss is called with the same
// number. A request is refused only for the rows of others.
func (c *Calls) admit(rows int) error {
	if now := c.rows.Add(int64(rows)); c.mostRows > 0 && now > c.mostRows && now > int64(rows) {
		c.rows.Add(-int64(rows))
		return c.overloaded()
	}
	return nil
}

func (c *Calls) dismiss(rows int) { c.rows.Add(-int64(rows)) }

// hasLeft returns ErrCallerGone where nobody waits for the answer any more. It
// may cost a system call: it is asked before work that was put off, and between
// the pieces of long work.
func hasLeft(ctx context.Context) error {
	if caller := until.CallerOf(ctx); caller != nil && caller.Gone() {
		return ErrCallerGone
	}
	return nil
}

// Wait waits for the calls that have been abandoned at their deadline, at most
// until ctx ends.
func (c *Calls) Wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() { c.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for detectors that do not return: %w", ctx.Err())
	}
}

// slots are the calls that one model may have at once.
type slots struct {
	calls   *Calls
	model   *Model
	free    chan struct{}
	workers chan struct{} // the host's, or the model's own
	stuck   atomic.Int64
	retain  func() (release func()) // keeps the model loaded; set by the registry
	jobs    sync.Pool
	// running are the calls and runners that use the detector: it is closed after them.
	running sync.WaitGroup
}

func newSlots(calls *Calls, m *Model) *slots {
	n, workers := cap(calls.workers), calls.workers
	info := m.scorer.Info()
	if m.can.remote {
		n = max(1, info.Concurrency)
		workers = make(chan struct{}, n) // others need not wait while it waits
	}
	if info.Concurrency > 0 {
		n = min(n, info.Concurrency)
	}
	if info.Stateful || m.Manifest.Stateful {
		n = 1
	}
	return &slots{calls: calls, model: m, free: make(chan struct{}, n), workers: workers, retain: func() func() { return func() {} }}
}

// job is one call on its way; it is reused unless it came late.
type job struct {
	done    chan error
	decided atomic.Bool // by whoever is first: the call's end or its deadline
}

// terminateGrace is how long past its deadline a call may take to notice it
// before it counts as stuck.
const terminateGrace = 30 * time.Millisecond

// run makes one call of the detector, and returns by the deadline of ctx. An
// ErrLate means that call goes on with the batch and the scores it was given.
func (s *slots) run(ctx context.Context, call func(context.Context) error) error {
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
	ctx, cancel := context.WithTimeout(ctx, s.model.Manifest.Limits.Timeout)
	defer cancel()
	go func() {
		defer s.calls.wg.Done()
		err := s.model.guarded(func() error { return call(ctx) })
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

// down puts what a backend says of a detector that is down, or has failed, into the
// runtime's errors: an UnavailableError, or an ErrScoring.
func (m *Model) down(err error) error {
	var d *backends.DownError
	if errors.As(err, &d) {
		return &UnavailableError{ID: m.ID(), Version: m.Version(), Reason: d.Reason, public: "its plugin is down: the host's log says why", RetryAfter: d.RetryAfter, suspect: d.Suspect}
	}
	var fault *backends.FaultError
	if errors.As(err, &fault) {
		return asScoring(err)
	}
	return err
}

// isSuspect reports whether a call's own rows made the detector unavailable.
func isSuspect(err error) bool {
	var u *UnavailableError
	return errors.As(err, &u) && u.suspect
}

// enter takes a slot of the model and a worker of the host, unless the caller has
// left while it waited for them.
func (s *slots) enter(ctx context.Context) error {
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
	if err := hasLeft(ctx); err != nil {
		<-s.workers
		<-s.free
		return err
	}
	return nil
}

// allStuck reports whether no slot will be free until a call returns that should
// have long ago.
func (s *slots) allStuck() bool { return s.stuck.Load() >= int64(cap(s.free)) }

func (s *slots) unavailable() error {
	return &UnavailableError{
		ID: s.model.ID(), Version: s.model.Version(), RetryAfter: s.model.Manifest.Limits.Timeout,
		Reason: "all its calls are stuck past their deadline",
	}
}

func (s *slots) wait(ctx context.Context, free chan<- struct{}) error {
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

// score fills out with the oriented scores of in, calling the detector with at
// most chunk rows at a time. Rows that fail come back as *sdk.RowErrors.
func (m *Model) score(ctx context.Context, in *sdk.Batch, chunk int, out []float64) error {
	if most := m.Manifest.Limits.MaxBatchRows; chunk <= 0 || chunk > most {
		chunk = most
	}
	var failed []sdk.RowError
	if in.Rows() == 1 && m.merger != nil {
		score, bad, err := m.merger.score(ctx, in)
		if err != nil {
			return err
		}
		out[0] = score
		if bad != nil {
			failed = []sdk.RowError{*bad}
		}
		return m.orient(out, failed)
	}
	fillNaN(out) // what is left so was not scored
	if m.Manifest.Stateful {
		bad, err := m.scoreInOrder(ctx, in, chunk, out)
		if err != nil {
			return err
		}
		return m.orient(out, bad)
	}
	f := faults{model: m}
	for from := 0; from < in.Rows(); from += chunk {
		if from > 0 {
			if err := hasLeft(ctx); err != nil {
				return err
			}
		}
		to := min(from+chunk, in.Rows())
		part := in
		if from > 0 || to < in.Rows() {
			part = in.Slice(from, to)
		}
		bad, err := m.scoreChunk(ctx, part, out[from:to], &f)
		if err != nil {
			return err
		}
		for _, e := range bad {
			e.Row += from
			failed = append(failed, e)
		}
	}
	if err := f.all(in.Rows()); err != nil {
		return err
	}
	return m.orient(out, failed)
}

// orient turns scores so that higher is more anomalous.
func (m *Model) orient(out []float64, failed []sdk.RowError) error {
	if m.Manifest.Output.HigherIsNormal {
		for i, v := range out {
			out[i] = 0 - v // 0 - 0 is 0, where -0 would be printed as such
		}
	}
	if failed != nil {
		return &sdk.RowErrors{Rows: failed}
	}
	return nil
}

// scoreChunk makes one call. Where a stateless detector fails as a whole, the
// chunk is halved until the rows at fault are found.
func (m *Model) scoreChunk(ctx context.Context, in *sdk.Batch, out []float64, f *faults) ([]sdk.RowError, error) {
	if f.inRow >= mostFaults {
		return f.add(in.Rows(), f.last), nil
	}
	err := m.slots.run(ctx, func(ctx context.Context) error { return m.scorer.Score(ctx, in, out) })
	var rowErrors *sdk.RowErrors
	switch {
	case err == nil:
		f.inRow = 0
		return nil, nil
	case errors.As(err, &rowErrors):
		f.inRow = 0
		return rowErrors.Rows, nil
	case isHostError(err):
		return nil, err
	case in.Rows() == 1 && isFault(err):
		return f.add(1, err), nil
	case in.Rows() == 1:
		return []sdk.RowError{{Reason: "the detector failed: " + err.Error()}}, nil
	case m.Manifest.Stateful || m.Manifest.BatchDependent:
		return nil, asScoring(err)
	}
	return halve(in, out, func(in *sdk.Batch, out []float64) ([]sdk.RowError, error) { return m.scoreChunk(ctx, in, out, f) })
}

// isHostError reports whether the host, not the detector, said no.
func isHostError(err error) bool {
	return errors.Is(err, ErrModelUnavailable) || errors.Is(err, ErrOverloaded) || errors.Is(err, ErrLate) ||
		errors.Is(err, ErrCallerGone) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
