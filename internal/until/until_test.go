package until_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/until"
)

func TestEndsAtItsDeadline(t *testing.T) {
	c := until.New(context.Background(), time.Now().Add(20*time.Millisecond), until.Request{})
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
	c := until.New(context.Background(), time.Now().Add(-time.Second), until.Request{})
	if !errors.Is(c.Err(), context.DeadlineExceeded) {
		t.Errorf("Err is %v", c.Err())
	}
	if next := c.Renewed(time.Now().Add(time.Hour)); next != c || next.Err() != nil {
		t.Errorf("renewed %p of %p: %v", next, c, next.Err())
	}
}

func TestOnly(t *testing.T) {
	c := until.New(context.Background(), time.Now().Add(time.Hour), until.Request{})
	defer c.End()
	child, cancel := context.WithTimeout(c, time.Minute)
	defer cancel()
	if _, only := until.Only(child); only {
		t.Error("a child can be cancelled")
	}
	if _, only := until.Only(c); !only {
		t.Error("the context ends at its deadline only")
	}
	if _, only := until.Only(until.New(child, time.Now(), until.Request{})); only {
		t.Error("the parent can be cancelled")
	}
}

// TestContract checks the contract of context.Context: an end is final, Done and Err
// agree, and children end with the context.
func TestContract(t *testing.T) {
	background := func() (context.Context, context.CancelFunc) { return context.Background(), func() {} }
	mortal := func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) }
	for name, k := range map[string]struct {
		parent func() (context.Context, context.CancelFunc)
		end    func(*until.Context, context.CancelFunc)
	}{
		"End":                             {background, func(c *until.Context, _ context.CancelFunc) { c.End() }},
		"End before Done":                 {background, func(c *until.Context, _ context.CancelFunc) { c.End() }},
		"deadline":                        {background, func(c *until.Context, _ context.CancelFunc) { <-c.Done() }},
		"End after a deadline":            {background, func(c *until.Context, _ context.CancelFunc) { <-c.Done(); c.End() }},
		"End under a parent":              {mortal, func(c *until.Context, _ context.CancelFunc) { c.End() }},
		"End before Done, under a parent": {mortal, func(c *until.Context, _ context.CancelFunc) { c.End() }},
		"deadline under a parent":         {mortal, func(c *until.Context, _ context.CancelFunc) { <-c.Done() }},
		"the parent's end":                {mortal, func(_ *until.Context, end context.CancelFunc) { end() }},
		"the parent's, End before Done":   {mortal, func(_ *until.Context, end context.CancelFunc) { end() }},
	} {
		t.Run(name, func(t *testing.T) {
			parent, endParent := k.parent()
			defer endParent()
			deadline := time.Now().Add(time.Hour)
			want := context.Canceled
			if strings.Contains(name, "deadline") {
				deadline, want = time.Now().Add(10*time.Millisecond), context.DeadlineExceeded
			}
			c := until.New(parent, deadline, until.Request{})
			var child context.Context
			ran := make(chan struct{})
			if !strings.Contains(name, "End before Done") {
				if err := c.Err(); err != nil && errors.Is(want, context.Canceled) {
					t.Errorf("before its end: %v", err)
				}
				var cancel context.CancelFunc
				child, cancel = context.WithCancel(c)
				defer cancel()
				context.AfterFunc(c, func() { close(ran) })
			}
			k.end(c, endParent)
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

// TestChildrenAndEnd ends a child and its parent at the same moment. The standard
// library panics in its own goroutine if the channel of a parent is closed while Err
// returns nil.
func TestChildrenAndEnd(t *testing.T) {
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			var c *until.Context
			for range 5000 {
				if c == nil {
					c = until.New(context.Background(), time.Now().Add(time.Minute), until.Request{})
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

// TestNoGoroutines checks that children need no goroutines.
func TestNoGoroutines(t *testing.T) {
	c := until.New(context.Background(), time.Now().Add(time.Minute), until.Request{})
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

// TestRequestOf checks that a request is found in its context and in children of it,
// without allocations.
func TestRequestOf(t *testing.T) {
	if r := until.RequestOf(t.Context()); r != (until.Request{}) {
		t.Errorf("nobody is %v", r)
	}
	want := until.Request{Caller: caller{gone: true}, Principal: everything{}}
	own := until.New(context.Background(), time.Now().Add(time.Minute), want)
	defer own.End()
	child, cancel := context.WithCancel(own)
	defer cancel()
	for _, ctx := range []context.Context{own, child, until.New(child, time.Now(), until.RequestOf(child))} {
		if r := until.RequestOf(ctx); r != want || !until.CallerOf(ctx).Gone() {
			t.Errorf("the request of %v is %v", ctx, r)
		}
		if n := testing.AllocsPerRun(100, func() { _ = until.RequestOf(ctx) }); n > 0 {
			t.Errorf("%v allocations", n)
		}
	}
	if c := until.CallerOf(until.New(context.Background(), time.Now(), until.Request{})); c != nil {
		t.Errorf("no caller is %v", c)
	}
}

type everything struct{}

func (everything) Sees(string) bool { return true }

// TestParent checks that a context has its parent's values and ends no later, and
// that asking for either starts no timer.
func TestParent(t *testing.T) {
	type key struct{}
	parent, cancel := context.WithDeadline(context.WithValue(context.Background(), key{}, "span"), time.Now().Add(time.Minute))
	c := until.New(parent, time.Now().Add(time.Hour), until.Request{})
	if d, _ := c.Deadline(); time.Until(d) > time.Minute {
		t.Errorf("it ends at %v, after its parent", d)
	}
	if v := c.Value(key{}); v != "span" {
		t.Errorf("the parent's value is %v", v)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = c.Value(key{}), c.Err() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if later := c.Renewed(time.Now().Add(time.Hour)); later != c || time.Until(must(later.Deadline())) > time.Minute {
		t.Error("renewed it ends after its parent")
	}
	_ = c.Done() // as a waiter does
	if v := c.Value(key{}); v != "span" {
		t.Errorf("after Done the parent's value is %v", v)
	}
	cancel()
	if err := c.Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("its parent has ended; it says %v", err)
	}
}

func must(d time.Time, _ bool) time.Time { return d }
