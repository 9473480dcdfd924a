package batching

import (
	"context"
	"fmt"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/trace"
	"github.com/pynomaly/pynomaly-runtime/internal/until"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// ticket is a row that waits for its score.
type ticket struct {
	row       *sdk.Batch
	caller    until.Caller // of its request; nil: unknown
	since     time.Time    // when it was queued
	deadline  time.Time    // of its request; zero: none
	alone     bool         // must not share a call
	abandoned bool         // its caller no longer waits; guarded by merger.mu
	done      chan outcome
	timer     *time.Timer
	span      *trace.Span // of its request; nil: none
	scoring   *trace.Span // of its call
}

type outcome struct {
	score  float64
	failed *sdk.RowError
	err    error
}

// score returns the raw score of a row, by the deadline of ctx. It does not use the
// row after it returns.
func (g *merger) score(ctx context.Context, row *sdk.Batch) (float64, *sdk.RowError, error) {
	if g.slots.d.Separate && g.slots.tryEnter() {
		return g.alone(ctx, row)
	}
	t, _ := g.tickets.Get().(*ticket)
	if t == nil {
		t = &ticket{done: make(chan outcome, 1), timer: time.NewTimer(time.Hour)}
	}
	t.row, t.alone = row, false
	t.caller, t.span, t.since = until.CallerOf(ctx), until.SpanOf(ctx), time.Now()
	t.deadline, _ = ctx.Deadline()
	lead, err := g.submit(t)
	if err != nil {
		return 0, nil, err
	}
	if lead != nil {
		g.lead(lead)
	}
	o, ok := g.wait(t)
	if !ok {
		return 0, nil, fmt.Errorf("waiting for the detector: %w", context.DeadlineExceeded)
	}
	t.row, t.caller, t.span = nil, nil, nil
	g.tickets.Put(t)
	return o.score, o.failed, o.err
}

// wait returns a ticket's outcome, or false if its deadline came first.
func (g *merger) wait(t *ticket) (outcome, bool) {
	select {
	case o := <-t.done:
		return o, true
	default:
	}
	if t.deadline.IsZero() {
		return <-t.done, true
	}
	t.timer.Reset(t.deadline.Sub(t.since) + terminateGrace)
	select {
	case o := <-t.done:
		t.timer.Stop()
		return o, true
	case <-t.timer.C:
		if g.abandon(t) {
			return outcome{}, false
		}
		return <-t.done, true
	}
}

// abandon gives up a ticket unless its outcome is decided.
func (g *merger) abandon(t *ticket) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(t.done) > 0 {
		return false
	}
	t.abandoned = true
	return true
}

// patience is how long a row may wait before the merger checks whether its caller
// has left.
const patience = 20 * time.Millisecond

// left reports whether the caller of a ticket has left, and if so ends the ticket.
func (t *ticket) left(now time.Time) bool {
	if t.abandoned {
		return true
	}
	if t.caller == nil || now.Sub(t.since) < patience || !t.caller.Gone() {
		return false
	}
	t.done <- outcome{err: ErrCallerGone}
	return true
}
