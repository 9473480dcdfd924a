package trace

import (
	"encoding/hex"

	"go.opentelemetry.io/otel/trace"
)

// The names of W3C trace context's headers.
const (
	Parent = "traceparent"
	State  = "tracestate"
)

const (
	parentLength = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	maxState     = 512 // bytes of a tracestate that is passed on
)

// Parse returns the place in a trace that the headers of a request name, or nil. As
// the specification says, a header that it does not allow counts as absent.
func Parse(parent, state []byte) *Span {
	if len(parent) < parentLength || parent[2] != '-' || parent[35] != '-' || parent[52] != '-' {
		return nil
	}
	var version, flags [1]byte
	var cfg trace.SpanContextConfig
	ok := lowerHex(version[:], parent[:2]) && lowerHex(cfg.TraceID[:], parent[3:35]) && lowerHex(cfg.SpanID[:], parent[36:52]) && lowerHex(flags[:], parent[53:55])
	switch {
	case !ok, version[0] == 0xff, !cfg.TraceID.IsValid(), !cfg.SpanID.IsValid():
		return nil
	case len(parent) > parentLength && (version[0] == 0 || parent[parentLength] != '-'):
		return nil
	}
	cfg.TraceFlags = trace.TraceFlags(flags[0]) & (trace.FlagsSampled | trace.FlagsRandom)
	cfg.Remote = true
	if len(state) > 0 && len(state) <= maxState {
		cfg.TraceState, _ = trace.ParseTraceState(string(state)) // empty if it is malformed
	}
	return Remote(trace.NewSpanContext(cfg))
}

// lowerHex decodes lower-case hex, which is the only one that the specification
// allows.
func lowerHex(to, from []byte) bool {
	for _, c := range from {
		if 'A' <= c && c <= 'F' {
			return false
		}
	}
	_, err := hex.Decode(to, from)
	return err == nil
}

// Sampled reports whether whoever sent this place records its trace.
func (s *Span) Sampled() bool { return s != nil && s.at.IsSampled() }

// Traceparent returns the header that says where the span is, or "" without a trace.
func (s *Span) Traceparent() string {
	if s == nil {
		return ""
	}
	b := make([]byte, 0, parentLength)
	trace, span := s.at.TraceID(), s.at.SpanID()
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, trace[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, span[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, []byte{byte(s.at.TraceFlags())})
	return string(b)
}

// Tracestate returns the header that other systems have added to the trace, or "".
func (s *Span) Tracestate() string {
	if s == nil {
		return ""
	}
	return s.at.TraceState().String()
}

// AppendIDs appends the members trace_id and span_id of a JSON object, each with a
// comma before it. Without a trace it appends nothing.
func (s *Span) AppendIDs(b []byte) []byte {
	if s == nil {
		return b
	}
	trace, span := s.at.TraceID(), s.at.SpanID()
	b = append(b, `,"trace_id":"`...)
	b = hex.AppendEncode(b, trace[:])
	b = append(b, `","span_id":"`...)
	b = hex.AppendEncode(b, span[:])
	return append(b, '"')
}
