package batching

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/pynomaly/pynomaly-runtime/internal/until"
)

// Calls limits how many calls of detectors run at once in the whole host.
//
// A call that exceeds its deadline no longer counts here, so that a detector that
// hangs does not slow down the others. It still counts for its own model until it
// returns.
type Calls struct {
	workers  chan struct{}
	waiting  atomic.Int64
	most     int64
	rows     atomic.Int64 // rows of requests that are not answered yet
	mostRows int64        // 0: no limit
	wg       sync.WaitGroup
}

// maxWaiting is how many calls may wait for a worker or a slot.
const maxWaiting = 4096

// NewCalls returns a Calls that allows the given number of calls at once.
func NewCalls(workers int) *Calls {
	return &Calls{workers: make(chan struct{}, max(1, workers)), most: maxWaiting}
}

// LimitRows limits how many rows of all requests may wait or be scored at once; 0
// means no limit. Call it before the first request.
func (c *Calls) LimitRows(most int) { c.mostRows = int64(most) }

// Rows returns how many rows wait or are being scored.
func (c *Calls) Rows() int64 { return c.rows.Load() }

// Full returns the ErrOverloaded that a request would get now, or nil. A transport
// can call it before it reads a request's body.
func (c *Calls) Full() error {
	if c.mostRows > 0 && c.rows.Load() >= c.mostRows {
		return c.overloaded()
	}
	return nil
}

func (c *Calls) overloaded() error {
	return fmt.Errorf("%w: %d rows are waiting or being scored already (server.limits.waiting_rows)", ErrOverloaded, c.rows.Load())
}

// Admit counts the rows of a request until Dismiss is called with the same number.
// It refuses a request only if there are rows of other requests.
func (c *Calls) Admit(rows int) error {
	if now := c.rows.Add(int64(rows)); c.mostRows > 0 && now > c.mostRows && now > int64(rows) {
		c.rows.Add(-int64(rows))
		return c.overloaded()
	}
	return nil
}

// Dismiss ends what Admit began.
func (c *Calls) Dismiss(rows int) { c.rows.Add(-int64(rows)) }

// HasLeft returns ErrCallerGone if the caller no longer waits. It may cost a system
// call, so it is called before work that was delayed, and between the parts of long
// work.
func HasLeft(ctx context.Context) error {
	if caller := until.CallerOf(ctx); caller != nil && caller.Gone() {
		return ErrCallerGone
	}
	return nil
}

// Go runs a function for which Wait waits.
func (c *Calls) Go(f func()) { c.wg.Go(f) }

// Wait waits for the calls that were abandoned at their deadline, until ctx ends.
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
