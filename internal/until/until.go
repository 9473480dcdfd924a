// Package until has a context that ends at a time. It costs nothing until
// somebody waits for it, where the standard library's starts a timer at once: a
// request that is answered in microseconds never needs one.
//
// The package also carries the caller of a request, so that whoever works for it
// can ask whether the caller is still there.
package until

import (
	"context"
	"sync"
	"time"
)

// Context ends at its deadline, or when End is called. It keeps the standard
// library's contract: once it has ended it says so for ever, and its children
// need no goroutine.
type Context struct {
	deadline time.Time
	caller   Caller
	mu       sync.Mutex
	err      error           // set when it has ended
	waited   context.Context // made when somebody first asks for Done
	cancel   context.CancelFunc
}

var _ context.Context = (*Context)(nil)

// New returns a context that ends at a deadline. The caller may be nil. Call End
// when nothing uses the context any more.
func New(deadline time.Time, caller Caller) *Context {
	return &Context{deadline: deadline, caller: caller}
}

// Renewed returns a context with another deadline. That is c itself where nobody
// has waited for it and nobody can be using it, and a new one otherwise: a
// context that a child was made of stays ended. The caller must be done with c.
func (c *Context) Renewed(deadline time.Time) *Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waited != nil {
		c.end()
		return New(deadline, c.caller)
	}
	c.deadline, c.err = deadline, nil
	return c
}

// End ends the context and frees what waiting needed.
func (c *Context) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
}

func (c *Context) end() {
	if c.ended() == nil {
		c.err = context.Canceled
	}
	if c.cancel != nil {
		c.cancel()
	}
}

// Deadline implements context.Context.
func (c *Context) Deadline() (time.Time, bool) { return c.deadline, true }

// Done implements context.Context.
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waited == nil {
		ended := c.ended()
		c.waited, c.cancel = context.WithDeadline(context.Background(), c.deadline)
		if ended != nil {
			c.cancel()
		}
	}
	return c.waited.Done()
}

// Err implements context.Context.
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended()
}

// ended returns why the context has ended, or nil. c is locked.
func (c *Context) ended() error {
	switch {
	case c.err != nil:
	case c.waited != nil:
		c.err = c.waited.Err() // what Done's channel says
	case time.Until(c.deadline) <= 0:
		c.err = context.DeadlineExceeded
	}
	return c.err
}

// Value implements context.Context. Of the context that Done's channel is of it
// hands on what the standard library keeps there, so that children are registered
// with that and need no goroutine.
func (c *Context) Value(key any) any {
	if key == (callerKey{}) {
		return c.caller
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waited == nil {
		return nil
	}
	return c.waited.Value(key)
}

// Only returns the deadline of a context that ends in no other way while it is
// used, such as one of this package: whoever has a timer of its own need not wait
// for Done.
func Only(ctx context.Context) (time.Time, bool) {
	if c, ok := ctx.(*Context); ok {
		return c.deadline, true
	}
	return time.Time{}, false
}

// Caller is whoever waits for an answer.
type Caller interface {
	// Gone reports whether nobody waits any more. It may cost a system call and
	// is safe for concurrent use.
	Gone() bool
}

type callerKey struct{}

// WithCaller returns a context of a caller.
func WithCaller(ctx context.Context, caller Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, caller)
}

// CallerOf returns the caller that a context or one of its parents carries, or nil.
func CallerOf(ctx context.Context) Caller {
	caller, _ := ctx.Value(callerKey{}).(Caller)
	return caller
}
