package trace

// Log returns the attributes of a log line for the span, to be added to others. It
// returns nil without a trace.
func (s *Span) Log() []any {
	if s == nil {
		return nil
	}
	return []any{"trace_id", s.TraceID(), "span_id", s.SpanID()}
}
