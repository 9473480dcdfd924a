// Package until has a context that ends at a time and in no other way. It costs
// nothing until somebody waits for it, where the standard library's starts a
// timer at once: a request that is answered in microseconds never needs one.
package until

import (
	"context"
	"sync"
	"time"
)

// Context ends at its deadline. Call End when nothing uses it any more.
type Context struct {
	deadline time.Time
	mu       sync.Mutex
	waited   context.Context // made when somebody first asks for Done
	cancel   context.CancelFunc
}

var _ context.Context = (*Context)(nil)

// New returns a context that ends at a deadline.
func New(deadline time.Time) *Context { return &Context{deadline: deadline} }

// Reset gives a context that has ended, or was never used, another deadline.
func (c *Context) Reset(deadline time.Time) {
	c.End()
	c.deadline = deadline
}

// End frees what waiting needed.
func (c *Context) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
		c.waited, c.cancel = nil, nil
	}
}

// Deadline implements context.Context.
func (c *Context) Deadline() (time.Time, bool) { return c.deadline, true }

// Done implements context.Context.
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waited == nil {
		c.waited, c.cancel = context.WithDeadline(context.Background(), c.deadline)
	}
	return c.waited.Done()
}

// Err implements context.Context.
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waited != nil {
		return c.waited.Err()
	}
	if time.Until(c.deadline) <= 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// Value implements context.Context; there are no values.
func (c *Context) Value(any) any { return nil }

// Only returns the deadline of a context that ends in no other way, such as one
// of this package: whoever has a timer of its own need not wait for Done.
func Only(ctx context.Context) (time.Time, bool) {
	if c, ok := ctx.(*Context); ok {
		return c.deadline, true
	}
	return time.Time{}, false
}
