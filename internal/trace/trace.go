// Package trace carries the trace of a request through the host: it reads and writes
// W3C trace context, and makes the spans of requests that are recorded.
//
// A request that is not part of a trace has no Span, and a nil *Span does nothing, so
// that a host without traces pays for a nil pointer. Package tracing sends spans to a
// collector.
package trace

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Span is a place in a trace: a span that is being recorded or, if the trace is not
// recorded here, the caller's. A nil Span is no place in any trace. Its methods are
// safe for concurrent use.
type Span struct {
	at     trace.SpanContext
	span   trace.Span   // nil: it is not recorded
	tracer trace.Tracer // makes children
}

// Attribute describes a span.
type Attribute = attribute.KeyValue

// Text returns an attribute that is a text.
func Text(key, value string) Attribute { return attribute.String(key, value) }

// Number returns an attribute that is a number.
func Number(key string, value int) Attribute { return attribute.Int(key, value) }

// Remote returns the place in a trace that a caller has sent. Nothing is recorded
// for it.
func Remote(at trace.SpanContext) *Span { return &Span{at: at} }

// Root starts the first span that this host records of a request. The parent may be
// nil.
func Root(tracer trace.Tracer, parent *Span, name string) *Span {
	ctx := context.Background()
	if parent != nil {
		ctx = trace.ContextWithRemoteSpanContext(ctx, parent.at)
	}
	_, span := tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer))
	return &Span{at: span.SpanContext(), span: span, tracer: tracer}
}

// Recorded reports whether the span is sent to a collector.
func (s *Span) Recorded() bool { return s != nil && s.span != nil }

// Child starts a part of a span that begins now. It returns nil if the span is not
// recorded.
func (s *Span) Child(name string) *Span {
	if !s.Recorded() {
		return nil
	}
	return s.start(name)
}

// Call starts a part of a span that is a call of another process.
func (s *Span) Call(name string) *Span {
	if !s.Recorded() {
		return nil
	}
	return s.start(name, trace.WithSpanKind(trace.SpanKindClient))
}

// Past records a part of a span that began in the past and ends now.
func (s *Span) Past(name string, since time.Time) {
	if s.Recorded() {
		s.start(name, trace.WithTimestamp(since)).End()
	}
}

func (s *Span) start(name string, options ...trace.SpanStartOption) *Span {
	_, span := s.tracer.Start(trace.ContextWithSpan(context.Background(), s.span), name, options...)
	return &Span{at: span.SpanContext(), span: span, tracer: s.tracer}
}

// Link says that the span also works for another one.
func (s *Span) Link(other *Span) {
	if s.Recorded() && other != nil {
		s.span.AddLink(trace.Link{SpanContext: other.at})
	}
}

// Set adds attributes. Ask Recorded first where the request may not be recorded: the
// arguments cost an allocation.
func (s *Span) Set(attributes ...Attribute) {
	if s.Recorded() {
		s.span.SetAttributes(attributes...)
	}
}

// Fail marks the span as failed. The reason goes to the collector, so it must hold no
// values of clients.
func (s *Span) Fail(reason string) {
	if s.Recorded() {
		s.span.SetStatus(codes.Error, reason)
	}
}

// End ends the span. Further calls do nothing.
func (s *Span) End() {
	if s.Recorded() {
		s.span.End()
	}
}

// Or returns s or, if it is nil, other. A call that is made for a request which is
// not recorded still passes on the caller's place.
func (s *Span) Or(other *Span) *Span {
	if s == nil {
		return other
	}
	return s
}

// TraceID returns the trace's id in hex, or "" without a trace.
func (s *Span) TraceID() string {
	if s == nil {
		return ""
	}
	return s.at.TraceID().String()
}

// SpanID returns the span's id in hex, or "" without a trace.
func (s *Span) SpanID() string {
	if s == nil {
		return ""
	}
	return s.at.SpanID().String()
}

// key is the key of a context's span.
type key struct{}

// With returns a context for what is done for a span, or ctx itself if span is nil.
func With(ctx context.Context, span *Span) context.Context {
	if span == nil {
		return ctx
	}
	return context.WithValue(ctx, key{}, span)
}

// Of returns the span for which something is done, or nil.
func Of(ctx context.Context) *Span {
	s, _ := ctx.Value(key{}).(*Span)
	return s
}

// IsKey reports whether a context that carries a span in its own way is asked for it.
func IsKey(k any) bool { return k == (key{}) }
