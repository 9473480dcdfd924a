package rest

import (
	"context"
	"log/slog"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/internal/trace"
	"github.com/pynomaly/pynomaly-runtime/runtime/predict"
)

// spanLocal is the key of a request's *trace.Span, which only requests of a trace
// have.
const spanLocal = "span"

// The trace context of a request's headers, in the spelling that fasthttp keeps.
const (
	traceparentHeader = "Traceparent"
	tracestateHeader  = "Tracestate"
)

// spanOf returns a request's span, or nil.
func spanOf(c *fiber.Ctx) *trace.Span {
	span, _ := c.Locals(spanLocal).(*trace.Span)
	return span
}

// callerSpan returns the place in a trace that a request names, or nil.
func callerSpan(c *fiber.Ctx) *trace.Span {
	h := &c.Request().Header
	parent := peek(h, traceparentHeader)
	if len(parent) == 0 {
		return nil
	}
	return trace.Parse(parent, peek(h, tracestateHeader))
}

// traces reports whether the route's requests are recorded. What probes and scrapers
// ask for is not, nor is an upgrade, whose messages are.
func (r *route) traces() bool {
	return r.action != 0 && r.action != access.Metrics && len(r.Messages) == 0
}

// traced answers a request within its span.
func (s *Server) traced(c *fiber.Ctx, r *route) error {
	span := callerSpan(c)
	if r.traces() {
		span = s.cfg.Traces.Begin(span, r.name)
	}
	debug := s.cfg.Log.Enabled(context.Background(), slog.LevelDebug)
	if span == nil && !debug {
		return s.admitted(c, r)
	}
	if span != nil {
		c.Locals(spanLocal, span)
	}
	start := s.cfg.Now()
	err := s.admitted(c, r)
	status := c.Response().StatusCode()
	failed, _ := c.Locals(errorTypeLocal).(string)
	if span.Recorded() {
		span.Set(trace.Text("http.request.method", r.Method), trace.Text("http.route", r.Path), trace.Number("http.response.status_code", status),
			trace.Text("pynomaly.request_id", s.requestID(c)))
		endRequest(span, status, failed)
	}
	if debug {
		s.cfg.Log.Debug("request", append([]any{"method", r.Method, "route", r.Path, "status", status, "error_type", failed,
			"duration", s.cfg.Now().Sub(start).Round(time.Microsecond).String(), "request_id", s.requestID(c)}, span.Log()...)...)
	}
	return err
}

// endRequest ends the span of a request that was answered with a status.
func endRequest(span *trace.Span, status int, errorType string) {
	if errorType != "" {
		span.Set(trace.Text("error.type", errorType))
	}
	if status >= fiber.StatusInternalServerError {
		span.Fail(errorType)
	}
	span.End()
}

// describeCall adds to a span what a call asks for.
func describeCall(span *trace.Span, c *predict.Call) {
	m := c.Model()
	if !span.Recorded() || m == nil {
		return
	}
	span.Set(trace.Text("pynomaly.model.id", m.ID()), trace.Text("pynomaly.model.version", m.Version()), trace.Number("pynomaly.rows", c.Rows().Total()))
}

// answered ends the span of a message, for which p says why it failed, if it did.
func answered(span *trace.Span, requestID string, p *api.Problem) {
	if !span.Recorded() {
		return
	}
	span.Set(trace.Text("pynomaly.request_id", requestID))
	if p == nil {
		span.End()
		return
	}
	endRequest(span, p.Status, string(p.ErrorType))
}
