package batching

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/pynomaly/pynomaly-runtime/internal/until"
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

// Admit counts the rows of a request, until Dismiss is called with the same
// number. A request is refused only for the rows of others.
func (c *Calls) Admit(rows int) error {
	if now := c.rows.Add(int64(rows)); c.mostRows > 0 && now > c.mostRows && now > int64(rows) {
		c.rows.Add(-int64(rows))
		return c.overloaded()
	}
	return nil
}

// Dismiss ends what Admit began.
func (c *Calls) Dismiss(rows int) { c.rows.Add(-int64(rows)) }

// HasLeft returns ErrCallerGone where nobody waits for the answer any more. It
// may cost a system call: it is asked before work that was put off, and between
// the pieces of long work.
func HasLeft(ctx context.Context) error {
	if caller := until.CallerOf(ctx); caller != nil && caller.Gone() {
		return ErrCallerGone
	}
	return nil
}

// Go runs a function that Wait waits for.
func (c *Calls) Go(f func()) { c.wg.Go(f) }

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
