package batching

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/until"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// merger combines single rows of different requests into calls of the detector. A
// row never waits for others: it is scored at once if a slot is free, and rows that
// arrive during calls share the next one.
type merger struct {
	slots   *Slots
	tickets sync.Pool
	solos   sync.Pool // of *solo
	born    time.Time

	mu         sync.Mutex
	queue      []*ticket
	runners    int
	spare      []*run    // of runners that have ended
	aloneUntil time.Time // set after a merged call that timed out
}

func newMerger(s *Slots) *merger { return &merger{slots: s, born: time.Now()} }

// submit queues a ticket and makes sure that the queue is worked on. If the caller
// must do that, with a slot and a worker that submit has taken, submit returns a run
// for lead.
func (g *merger) submit(t *ticket) (lead *run, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.slots.allStuck() {
		return nil, g.slots.unavailable()
	}
	if most := g.slots.d.Queue; len(g.queue) >= most {
		return nil, fmt.Errorf("%w: %d rows are waiting for this model already (batching.max_queue)", ErrOverloaded, most)
	}
	g.queue = append(g.queue, t)
	if g.runners >= cap(g.slots.free) {
		return nil, nil
	}
	g.runners++
	if g.slots.d.Bounded && g.slots.tryEnter() {
		return g.takeRun(), nil
	}
	g.startRunner()
	return nil, nil
}

// lead makes the next call on the goroutine of a request, which saves two switches
// between goroutines. It leaves rows that arrive meanwhile to a runner.
func (g *merger) lead(r *run) {
	runtime.Gosched() // requests that can run now join the call
	r, more := g.next(r)
	<-g.slots.workers
	<-g.slots.free
	if !more {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spare = append(g.spare, r)
	if len(g.queue) > 0 {
		g.startRunner()
	} else {
		g.runners--
	}
}

// ensureRunner starts a runner if another one is allowed. The merger is locked.
func (g *merger) ensureRunner() {
	if g.runners < cap(g.slots.free) {
		g.runners++
		g.startRunner()
	}
}

// startRunner starts a runner, which has been counted. The merger is locked.
func (g *merger) startRunner() {
	release := g.slots.retain()
	g.slots.calls.wg.Add(1)
	g.slots.running.Add(1)
	go func() {
		defer g.slots.calls.wg.Done()
		defer release()
		defer g.slots.running.Done()
		g.work()
	}()
}

// work makes calls until the queue is empty.
func (g *merger) work() {
	g.mu.Lock()
	r := g.takeRun()
	g.mu.Unlock()
	for more := true; more; {
		runtime.Gosched() // requests that can run now join the next call
		g.slots.free <- struct{}{}
		g.slots.workers <- struct{}{}
		r, more = g.next(r)
		<-g.slots.workers
		<-g.slots.free
	}
}

// next makes a call for the rows that wait, with a slot and a worker that the caller
// holds. It returns the run for the following call. If no row waits, it ends the
// runner instead and returns false.
func (g *merger) next(r *run) (*run, bool) {
	g.mu.Lock()
	now := time.Now()
	r.take(now)
	if len(r.tickets) == 0 {
		g.runners--
		g.spare = append(g.spare, r)
		g.mu.Unlock()
		return nil, false
	}
	g.mu.Unlock()
	switch onTime := r.call(now); {
	case !onTime: // the watch has handled the tickets and given up the worker
		g.slots.stuck.Add(-1)
		g.slots.workers <- struct{}{}
		return newRun(g), true
	case r.spent:
		return newRun(g), true
	}
	return r, true
}

// run is one runner's scratch state. It must not be reused after a late call.
type run struct {
	g       *merger
	tickets []*ticket
	batch   *sdk.Batch
	out     []float64
	ctx     *until.Context
	watch   *time.Timer
	decided atomic.Bool // set by the first of the call's end and the watch
	spent   bool        // the watch has just fired and must not affect another call
}

// takeRun returns a run for a new runner. The merger is locked.
func (g *merger) takeRun() *run {
	n := len(g.spare) - 1
	if n < 0 {
		return newRun(g)
	}
	r := g.spare[n]
	g.spare = g.spare[:n]
	return r
}

func newRun(g *merger) *run {
	r := &run{g: g, batch: sdk.NewBatch(g.slots.d.Features), ctx: until.New(context.Background(), time.Time{}, until.Request{})}
	r.watch = time.AfterFunc(time.Hour, r.late)
	r.watch.Stop()
	return r
}

// take fills the run with waiting tickets. The merger is locked.
func (r *run) take(now time.Time) {
	g := r.g
	most := max(1, g.slots.whole(min(g.slots.d.Merged, g.slots.d.Rows)))
	if !g.aloneUntil.IsZero() {
		if now.Before(g.aloneUntil) {
			most = 1
		} else {
			g.aloneUntil = time.Time{}
		}
	}
	r.tickets = r.tickets[:0]
	n := 0
	for n < len(g.queue) && len(r.tickets) < most {
		t := g.queue[n]
		if t.alone && len(r.tickets) > 0 {
			break
		}
		n++
		if t.left(now) {
			continue
		}
		r.tickets = append(r.tickets, t)
		if t.alone {
			break
		}
	}
	rest := copy(g.queue, g.queue[n:])
	clear(g.queue[rest:])
	g.queue = g.queue[:rest]
	r.batch.Resize(g.slots.filled(len(r.tickets)))
	for i, t := range r.tickets {
		r.batch.CopyRow(i, t.row, 0)
	}
	for i := len(r.tickets); i < r.batch.Rows(); i++ {
		r.batch.CopyRow(i, r.batch, len(r.tickets)-1)
	}
}

// call makes the call and delivers the scores. It returns false if the call was
// late.
func (r *run) call(now time.Time) bool {
	timeout := r.g.slots.d.Timeout
	r.decided.Store(false)
	r.ctx = r.ctx.Renewed(now.Add(timeout))
	r.ctx.Trace(begin(r.tickets))
	if n := r.batch.Rows(); cap(r.out) < n {
		r.out = make([]float64, n, 2*n)
	}
	r.out = r.out[:r.batch.Rows()]
	fillNaN(r.out)
	r.watch.Reset(timeout + terminateGrace)
	failed, err := r.g.slots.callDirectly(r.ctx, r.batch, r.out)
	if !r.decided.CompareAndSwap(false, true) {
		return false
	}
	r.spent = !r.watch.Stop()
	if err != nil && len(r.tickets) > 1 {
		switch {
		case r.ctx.Err() != nil:
			r.separate(aloneTimeouts * timeout)
			return true
		case isSuspect(err):
			r.separate(aloneAfterEnd)
			return true
		case isFault(err):
			r.separate(0)
			return true
		}
	}
	for i, t := range r.tickets {
		o := outcome{score: r.out[i], err: err}
		if len(failed) > 0 && failed[0].Row == i {
			o.failed = &sdk.RowError{Field: failed[0].Field, Reason: failed[0].Reason}
			failed = failed[1:]
		}
		t.ended(err)
		t.done <- o
	}
	return true
}

// late runs when a call has exceeded its deadline. It ends the call's tickets and
// frees its worker for other models.
func (r *run) late() {
	g := r.g
	g.slots.stuck.Add(1)
	if !r.decided.CompareAndSwap(false, true) { // it has just ended
		g.slots.stuck.Add(-1)
		return
	}
	<-g.slots.workers
	if len(r.tickets) > 1 {
		r.separate(aloneTimeouts * g.slots.d.Timeout)
	} else {
		r.tickets[0].ended(context.DeadlineExceeded)
		r.tickets[0].done <- outcome{err: fmt.Errorf("%w: %w", ErrLate, context.DeadlineExceeded)}
	}
	g.refuseIfStuck()
}

// refuseIfStuck refuses the rows that wait if all slots are taken by calls past their
// deadline.
func (g *merger) refuseIfStuck() {
	if !g.slots.allStuck() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range g.queue {
		t.done <- outcome{err: g.slots.unavailable()}
	}
	clear(g.queue)
	g.queue = g.queue[:0]
}

// separate scores each row of a call separately after the call failed, timed out, or
// ended the detector's process, so that one row does not fail the others. Rows are
// not merged during the pause.
func (r *run) separate(pause time.Duration) {
	g := r.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := time.Now().Add(pause); until.After(g.aloneUntil) {
		g.aloneUntil = until
	}
	for i, t := range r.tickets {
		t.ended(errShared)
		if t.abandoned {
			continue
		}
		row := sdk.NewBatch(g.slots.d.Features)
		row.Resize(1)
		row.CopyRow(0, r.batch, i)
		t.row, t.alone = row, true
		g.queue = append(g.queue, t)
	}
	g.ensureRunner()
}

// How long rows are not merged after a merged call that timed out, in multiples of
// limits.timeout, or that ended processes.
const (
	aloneTimeouts = 10
	aloneAfterEnd = 10 * time.Second
)

// Waiting returns how many single rows wait for a call.
func (s *Slots) Waiting() int {
	if s.merger == nil {
		return 0
	}
	n, _ := s.merger.waiting(time.Time{})
	return n
}
