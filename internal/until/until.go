// Package until has a context that ends at a time. It costs nothing until
// somebody waits for it, where the standard library's starts a timer at once: a
// request that is answered in microseconds never needs one.
//
// The context carries what is known of its request, so that whoever works for it can
// ask who sent it, and whether they still wait. All other values are the parent's: the
// span of a trace is one of them.
package until

import (
	"context"
	"sync"
	"time"
)

// Context ends at its deadline, with its parent, or when End is called. It keeps the
// standard library's contract: once it has ended it says so for ever, and its children
// need no goroutine.
type Context struct {
	parent   context.Context
	deadline time.Time
	request  Request
	mu       sync.Mutex
	err      error           // set when it has ended
	waited   context.Context // made when somebody first asks for Done
	cancel   context.CancelFunc
}

var _ context.Context = (*Context)(nil)

// New returns a context that ends at a deadline, or with its parent. Call End when
// nothing uses the context any more.
func New(parent context.Context, deadline time.Time, of Request) *Context {
	return &Context{parent: parent, deadline: earlier(parent, deadline), request: of}
}

// earlier is a deadline, or that of the parent where it comes first.
func earlier(parent context.Context, deadline time.Time) time.Time {
	if d, ok := parent.Deadline(); ok && d.Before(deadline) {
		return d
	}
	return deadline
}

// Request returns what is known of the request.
func (c *Context) Request() Request { return c.request }

// Renewed returns a context with another deadline. That is c itself where nobody
// has waited for it and nobody can be using it, and a new one otherwise: a
// context that a child was made of stays ended. The caller must be done with c.
func (c *Context) Renewed(deadline time.Time) *Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waited != nil {
		c.end()
		return New(c.parent, deadline, c.request)
	}
	c.deadline, c.err = earlier(c.parent, deadline), nil
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
		c.waited, c.cancel = context.WithDeadline(c.parent, c.deadline)
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
	default:
		c.err = c.parent.Err()
	}
	return c.err
}

// Value implements context.Context. Of the context that Done's channel is of it
// hands on what the standard library keeps there, so that children are registered
// with that and need no goroutine.
func (c *Context) Value(key any) any {
	if key == (requestKey{}) {
		return &c.request
	}
	c.mu.Lock()
	waited := c.waited
	c.mu.Unlock()
	if waited == nil {
		return c.parent.Value(key)
	}
	return waited.Value(key)
}

// Only returns the deadline of a context that ends in no other way while it is
// used, such as one of this package: whoever has a timer of its own need not wait
// for Done.
func Only(ctx context.Context) (time.Time, bool) {
	if c, ok := ctx.(*Context); ok && c.parent.Done() == nil {
		return c.deadline, true
	}
	return time.Time{}, false
}

// Request is what is known of a request while it is answered.
type Request struct {
	Caller    Caller    // nil: it is not known
	Principal Principal // nil: nobody was asked
}

// Caller is whoever waits for an answer.
type Caller interface {
	// Gone reports whether nobody waits any more. It may cost a system call and
	// is safe for concurrent use.
	Gone() bool
}

// Principal is who sent a request, as the way in has found out. This package hands it
// on.
type Principal interface {
	// Sees reports whether a model exists for the principal. It is safe for concurrent
	// use.
	Sees(model string) bool
}

type requestKey struct{}

// RequestOf returns the request that a context or one of its parents is for; it is
// empty where there is none.
func RequestOf(ctx context.Context) Request {
	if c, ok := ctx.(*Context); ok {
		return c.request
	}
	if r, ok := ctx.Value(requestKey{}).(*Request); ok {
		return *r
	}
	return Request{}
}

// CallerOf returns the caller that a context or one of its parents carries, or nil.
func CallerOf(ctx context.Context) Caller { return RequestOf(ctx).Caller }
