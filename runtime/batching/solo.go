package batching

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/until"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// solo is the scratch state of calls for one row, on the goroutine of its request. Such
// a call needs no queue and no other goroutine. A solo must not be reused after a late
// call.
type solo struct {
	g      *merger
	ctx    *until.Context
	ticket ticket // holds the spans of the request
	all    []*ticket
	out    [1]float64

	// watch notices a call that does not end. To stop it after every call would cost
	// more than the rest of a solo does. So it goes on, and when it fires, it looks
	// whether there is a call, and when that would be late.
	watch *time.Timer
	armed atomic.Bool  // watch will fire
	began atomic.Int64 // when the call began, in nanoseconds after g.born; 0: there is none; lateCall: the watch gave it up
}

const lateCall = -1

func newSolo(g *merger) *solo {
	c := &solo{g: g, ctx: until.New(context.Background(), time.Time{}, until.Request{})}
	c.all = []*ticket{&c.ticket}
	c.watch = time.AfterFunc(time.Hour, c.look)
	c.watch.Stop()
	return c
}

// alone returns the raw score of a row. The caller holds a slot and a worker, which
// alone gives back.
func (g *merger) alone(ctx context.Context, row *sdk.Batch) (float64, *sdk.RowError, error) {
	c, _ := g.solos.Get().(*solo)
	if c == nil {
		c = newSolo(g)
	}
	now := time.Now()
	c.ctx = c.ctx.Renewed(now.Add(g.slots.d.Timeout))
	c.ticket.span, c.ticket.since = until.SpanOf(ctx), now
	c.ctx.Trace(begin(c.all))
	began := max(1, int64(now.Sub(g.born)))
	c.began.Store(began)
	if !c.armed.Swap(true) {
		c.watch.Reset(g.slots.d.Timeout + terminateGrace)
	}
	c.out[0] = math.NaN()
	failed, err := g.slots.callDirectly(c.ctx, row, c.out[:])
	if late := !c.began.CompareAndSwap(began, 0); late {
		err = fmt.Errorf("%w: %w", ErrLate, context.DeadlineExceeded)
		c.ticket.ended(err)
		g.slots.stuck.Add(-1)
		<-g.slots.free
		return 0, nil, err
	}
	c.ticket.ended(err)
	c.ticket.span = nil
	<-g.slots.workers
	<-g.slots.free
	score := c.out[0]
	g.solos.Put(c)
	if len(failed) > 0 {
		return score, &sdk.RowError{Field: failed[0].Field, Reason: failed[0].Reason}, err
	}
	return score, nil, err
}

// look runs when the watch fires. It gives up a call that is late, and else fires again
// when the present call, if there is one, would be.
func (c *solo) look() {
	g := c.g
	for {
		began := c.began.Load()
		if began == 0 {
			c.armed.Store(false)
			if began = c.began.Load(); began == 0 || c.armed.Swap(true) {
				return
			}
		}
		if left := g.slots.d.Timeout + terminateGrace - (time.Since(g.born) - time.Duration(began)); left > 0 {
			c.watch.Reset(left)
			return
		}
		g.slots.stuck.Add(1)
		if c.began.CompareAndSwap(began, lateCall) {
			<-g.slots.workers
			g.refuseIfStuck()
			return
		}
		g.slots.stuck.Add(-1) // it has just ended
	}
}
