package batching

import (
	"context"
	"errors"

	"github.com/pynomaly/pynomaly-runtime/internal/trace"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// errShared ends the spans of a call that failed, whose rows are scored again one by
// one.
var errShared = errors.New("the shared call failed")

// begin records how long the rows of a call have waited, starts the span of the call
// for each of them, and returns the span for which the detector is called: that of the
// first recorded request, to which those of the others are linked.
func begin(tickets []*ticket) *trace.Span {
	var first, passed *trace.Span
	for _, t := range tickets {
		if !t.span.Recorded() {
			passed = passed.Or(t.span)
			continue
		}
		t.span.Past("wait", t.since)
		t.scoring = t.span.Child("score")
		t.scoring.Set(trace.Number("pynomaly.call.rows", len(tickets)))
		t.scoring.Link(first)
		first = first.Or(t.scoring)
	}
	return first.Or(passed)
}

// ended ends the span of the call for a ticket.
func (t *ticket) ended(err error) {
	endSpan(t.scoring, err)
	t.scoring = nil
}

// endSpan ends the span of a call. It does not record the error's text, which may
// have values of clients.
func endSpan(span *trace.Span, err error) {
	if !span.Recorded() {
		return
	}
	var rows *sdk.RowErrors
	switch {
	case err == nil, errors.As(err, &rows):
	case errors.Is(err, context.DeadlineExceeded):
		span.Fail("the deadline was exceeded")
	default:
		span.Fail("the call failed")
	}
	span.End()
}
