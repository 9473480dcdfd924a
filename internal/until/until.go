// Package until has a context with a deadline that is cheap until somebody waits for
// it. The standard library's context starts a timer at once, which a request that is
// answered in microseconds never needs.
//
// The context carries its request, so that code that works for the request can ask
// who sent it, whether the caller still waits, and to which trace it belongs. Its
// parent holds all other values.
package until

import (
	"context"
	"sync"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/trace"
)

// Context ends at its deadline, with its parent, or when End is called. It keeps the
// contract of context.Context: once it has ended it stays ended, and its children
// need no goroutine.
type Context struct {
	parent   context.Context
	deadline time.Time
	request  Request
	mu       sync.Mutex
	err      error           // set when it has ended
	waited   context.Context // made by the first call of Done
	cancel   context.CancelFunc
}

var _ context.Context = (*Context)(nil)

// New returns a context that ends at a deadline or with its parent. Call End when it
// is no longer used.
func New(parent context.Context, deadline time.Time, of Request) *Context {
	return &Context{parent: parent, deadline: earlier(parent, deadline), request: of}
}

// earlier returns the earlier one of a deadline and that of the parent.
func earlier(parent context.Context, deadline time.Time) time.Time {
	if d, ok := parent.Deadline(); ok && d.Before(deadline) {
		return d
	}
	return deadline
}

// Request returns the context's request.
func (c *Context) Request() Request { return c.request }

// Renewed returns a context with another deadline. It reuses c if nobody has waited
// for c, so that nobody else can be using it; otherwise it ends c and returns a new
// context, because a context that has children must stay ended. The caller must not
// use c afterwards.
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

// Trace sets the span that the context's work belongs to. Call it before anybody else
// uses the context.
func (c *Context) Trace(span *trace.Span) { c.request.Span = span }

// End ends the context and releases what Done needed.
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
		c.err = c.waited.Err() // the state of Done's channel
	case time.Until(c.deadline) <= 0:
		c.err = context.DeadlineExceeded
	default:
		c.err = c.parent.Err()
	}
	return c.err
}

// Value implements context.Context. It passes on the standard library's own values
// of the context behind Done's channel, so that children register with that context
// and need no goroutine.
func (c *Context) Value(key any) any {
	if key == (requestKey{}) {
		return &c.request
	}
	if trace.IsKey(key) && c.request.Span != nil {
		return c.request.Span
	}
	c.mu.Lock()
	waited := c.waited
	c.mu.Unlock()
	if waited == nil {
		return c.parent.Value(key)
	}
	return waited.Value(key)
}

// Only returns the deadline of a context that cannot end in another way while it is
// used, such as one of this package. A caller that has its own timer need not wait
// for Done.
func Only(ctx context.Context) (time.Time, bool) {
	if c, ok := ctx.(*Context); ok && c.parent.Done() == nil {
		return c.deadline, true
	}
	return time.Time{}, false
}

// Request describes a request that is being answered.
type Request struct {
	Caller    Caller      // nil: unknown
	Principal Principal   // nil: no authentication
	Span      *trace.Span // nil: it belongs to no trace
}

// Caller is a client that waits for a response.
type Caller interface {
	// Gone reports whether the client has stopped waiting. It may cost a system call
	// and is safe for concurrent use.
	Gone() bool
}

// Principal is the authenticated sender of a request. This package only passes it
// on.
type Principal interface {
	// Sees reports whether the principal may know that a model exists. It is safe
	// for concurrent use.
	Sees(model string) bool
}

type requestKey struct{}

// RequestOf returns the request of a context or of one of its parents, or the zero
// value.
func RequestOf(ctx context.Context) Request {
	if c, ok := ctx.(*Context); ok {
		return c.request
	}
	if r, ok := ctx.Value(requestKey{}).(*Request); ok {
		return *r
	}
	return Request{}
}

// CallerOf returns the caller of a context or of one of its parents, or nil.
func CallerOf(ctx context.Context) Caller { return RequestOf(ctx).Caller }

// SpanOf returns the span for which something is done, or nil.
func SpanOf(ctx context.Context) *trace.Span {
	if c, ok := ctx.(*Context); ok {
		return c.request.Span
	}
	return trace.Of(ctx)
}
