// Package lifecycle stops a program in order and in time, by signals or for other
// reasons.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrLeft says that something did not end in time. It ends with the process.
var ErrLeft = errors.New("it did not end in time")

// closeSlack is how long a part may take to notice that its time is over.
const closeSlack = 200 * time.Millisecond

// part is something that must be closed.
type part struct {
	name  string
	close func(context.Context) error
}

// Parts are the parts of a program, in the order of their start. They are closed in
// reverse order.
type Parts []part

// Add adds the part that was started last. closing must close it before its context
// ends.
func (p *Parts) Add(name string, closing func(context.Context) error) {
	*p = append(*p, part{name, closing})
}

// Close closes the parts until ctx ends. A part has at most three quarters of the
// remaining time, so that one that hangs leaves time for the next. The error names
// the parts that did not close.
func (p Parts) Close(ctx context.Context) error {
	var left []string
	var errs []error
	for i := len(p) - 1; i >= 0; i-- {
		err := p[i].closeIn(ctx)
		if errors.Is(err, ErrLeft) {
			left = append(left, p[i].name)
		} else if err != nil {
			errs = append(errs, fmt.Errorf("closing %s: %w", p[i].name, err))
		}
	}
	if left != nil {
		errs = append(errs, fmt.Errorf("%w, still running: %s", ErrLeft, strings.Join(left, ", ")))
	}
	return errors.Join(errs...)
}

func (p part) closeIn(ctx context.Context) error {
	var share time.Duration
	if end, ok := ctx.Deadline(); ok {
		share = time.Until(end) * 3 / 4
	}
	own, cancel := context.WithTimeout(ctx, share)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.close(own) }() // if it hangs, the process is about to end
	return WaitFor(done, share+min(closeSlack, share/6))
}

// WaitFor waits for a value of done. It returns ErrLeft after the time most.
func WaitFor(done <-chan error, most time.Duration) error {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		return ErrLeft
	}
}
