package until_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/until"
)

func TestEndsAtItsDeadline(t *testing.T) {
	c := until.New(time.Now().Add(20*time.Millisecond), nil)
	defer c.End()
	<-c.Done()
	if err := c.Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ended with %v", err)
	}
	c.End()
	if err := c.Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after End it ended with %v", err)
	}
	next := c.Renewed(time.Now().Add(time.Hour))
	if next == c {
		t.Error("a context that was waited for is used again")
	}
	if err := next.Err(); err != nil {
		t.Errorf("renewed: %v", err)
	}
	if err := c.Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after its renewal the old one says %v", err)
	}
}

func TestRenewedWithoutWaiting(t *testing.T) {
	c := until.New(time.Now().Add(-time.Second), nil)
	if !errors.Is(c.Err(), context.DeadlineExceeded) {
		t.Errorf("Err is %v", c.Err())
	}
	if next := c.Renewed(time.Now().Add(time.Hour)); next != c || next.Err() != nil {
		t.Errorf("renewed %p of %p: %v", next, c, next.Err())
	}
}

func TestOnly(t *testing.T) {
	c := until.New(time.Now().Add(time.Hour), nil)
	defer c.End()
	child, cancel := context.WithTimeout(c, time.Minute)
	defer cancel()
	if _, only := until.Only(child); only {
		t.Error("a child can be cancelled")
	}
	if _, only := until.Only(c); !only {
		t.Error("the context ends at its deadline only")
	}
}

// TestContract holds the context against what the standard library promises of
// one: an end is for ever, Done and Err agree, and children end with it.
func TestContract(t *testing.T) {
	for name, end := range map[string]func(*until.Context){
		"End":                  func(c *until.Context) { c.End() },
		"End before Done":      func(c *until.Context) { c.End() },
		"deadline":             func(c *until.Context) { <-c.Done() },
		"End after a deadline": func(c *until.Context) { <-c.Done(); c.End() },
	} {
		t.Run(name, func(t *testing.T) {
			deadline := time.Now().Add(time.Hour)
			want := context.Canceled
			if name == "deadline" || name == "End after a deadline" {
				deadline, want = time.Now().Add(10*time.Millisecond), context.DeadlineExceeded
			}
			c := until.New(deadline, nil)
			var child context.Context
			ran := make(chan struct{})
			if name != "End before Done" {
				if err := c.Err(); err != nil && errors.Is(want, context.Canceled) {
					t.Errorf("before its end: %v", err)
				}
				var cancel context.CancelFunc
				child, cancel = context.WithCancel(c)
				defer cancel()
				context.AfterFunc(c, func() { close(ran) })
			}
			end(c)
			for range 3 {
				if err := c.Err(); !errors.Is(err, want) {
					t.Fatalf("Err is %v, want %v", err, want)
				}
				<-c.Done()
			}
			if cause := context.Cause(c); !errors.Is(cause, want) {
				t.Errorf("its cause is %v", cause)
			}
			late, cancel := context.WithCancel(c)
			defer cancel()
			<-late.Done()
			if child != nil {
				<-child.Done()
				<-ran
				if err := child.Err(); !errors.Is(err, want) {
					t.Errorf("a child ended with %v", err)
				}
			}
		})
	}
}

// TestChildrenAndEnd: a child's end and the parent's at the same moment. The
// standard library panics, in a goroutine of its own, where a parent whose
// channel is closed says that it has not ended.
func TestChildrenAndEnd(t *testing.T) {
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			var c *until.Context
			for range 5000 {
				if c == nil {
					c = until.New(time.Now().Add(time.Minute), nil)
				} else {
					c = c.Renewed(time.Now().Add(time.Minute))
				}
				child, cancel := context.WithTimeout(c, time.Second)
				grandchild, stop := context.WithCancel(child)
				_ = grandchild.Err()
				cancel()
				c.End()
				stop()
			}
		})
	}
	all.Wait()
}

// TestNoGoroutines: children are registered, none waits in a goroutine.
func TestNoGoroutines(t *testing.T) {
	c := until.New(time.Now().Add(time.Minute), nil)
	before := runtime.NumGoroutine()
	const children = 1000
	for range children {
		_, cancel := context.WithCancel(c)
		defer cancel()
		defer context.AfterFunc(c, func() {})()
	}
	if made := runtime.NumGoroutine() - before; made > children/10 {
		t.Errorf("%d children made %d goroutines", children, made)
	}
	c.End()
}

type caller struct{ gone bool }

func (c caller) Gone() bool { return c.gone }

func TestCallerOf(t *testing.T) {
	if c := until.CallerOf(t.Context()); c != nil {
		t.Errorf("nobody is %v", c)
	}
	own := until.New(time.Now().Add(time.Minute), caller{gone: true})
	defer own.End()
	child, cancel := context.WithCancel(own)
	defer cancel()
	for _, ctx := range []context.Context{own, child, until.WithCaller(t.Context(), caller{gone: true})} {
		if c := until.CallerOf(ctx); c == nil || !c.Gone() {
			t.Errorf("the caller of %v is %v", ctx, c)
		}
	}
	if c := until.CallerOf(until.New(time.Now(), nil)); c != nil {
		t.Errorf("no caller is %v", c)
	}
}
