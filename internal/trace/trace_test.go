package trace_test

import (
	"context"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/pynomaly/pynomaly-runtime/internal/trace"
)

const valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// TestParse checks which headers name a place, by the rules of W3C trace context.
func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, parent, state string
		want                string // the header that is passed on; empty: none
		passed              string // the tracestate that is passed on
	}{
		{"sampled", valid, "a=1,b=2", valid, "a=1,b=2"},
		{"not sampled", strings.TrimSuffix(valid, "1") + "0", "", strings.TrimSuffix(valid, "1") + "0", ""},
		{"flags of the future", strings.TrimSuffix(valid, "01") + "fd", "", valid, ""},
		{"a random id", strings.TrimSuffix(valid, "01") + "03", "", strings.TrimSuffix(valid, "01") + "03", ""},
		{"a later version", "01" + valid[2:] + "-more", "", valid, ""},
		{"a malformed state", valid, "=,;\"", valid, ""},
		{"a huge state", valid, "a=" + strings.Repeat("1", 1000), valid, ""},
		{"version 0 with more", valid + "-more", "", "", ""},
		{"a later version without a dash", "01" + valid[2:] + "more", "", "", ""},
		{"version ff", "ff" + valid[2:], "", "", ""},
		{"upper case", strings.ToUpper(valid), "", "", ""},
		{"no trace", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "", "", ""},
		{"no span", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", "", "", ""},
		{"too short", valid[:54], "", "", ""},
		{"other text", strings.Repeat("x", 55), "", "", ""},
		{"empty", "", "", "", ""},
	} {
		got := trace.Parse([]byte(c.parent), []byte(c.state))
		if got.Traceparent() != c.want || got.Tracestate() != c.passed {
			t.Errorf("%s: %q %q, want %q %q", c.name, got.Traceparent(), got.Tracestate(), c.want, c.passed)
		}
		if got != nil && (got.TraceID() != valid[3:35] || got.SpanID() != valid[36:52]) {
			t.Errorf("%s: ids %s %s", c.name, got.TraceID(), got.SpanID())
		}
	}
}

// FuzzParse checks that whatever is passed on can be parsed again and is the same.
func FuzzParse(f *testing.F) {
	f.Add(valid, "a=1")
	f.Add("cc"+valid[2:]+"-x", "a@b=1,c=2")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, parent, state string) {
		s := trace.Parse([]byte(parent), []byte(state))
		if s == nil {
			return
		}
		again := trace.Parse([]byte(s.Traceparent()), []byte(s.Tracestate()))
		if again == nil || again.Traceparent() != s.Traceparent() || again.Tracestate() != s.Tracestate() {
			t.Errorf("%q %q became %q %q", parent, state, s.Traceparent(), s.Tracestate())
		}
	})
}

// TestNone checks that nothing is done, and nothing allocated, without a trace.
func TestNone(t *testing.T) {
	off := trace.NewSource(func() uint64 { return 0 })
	var none *trace.Source
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() {
		for _, source := range []*trace.Source{off, none} {
			s := source.Begin(nil, "a request")
			child := s.Child("a part")
			child.End()
			s.Call("a call").End()
			s.Past("a wait", time.Time{})
			s.Link(child)
			s.Fail("why")
			s.End()
			if s.Recorded() || s.Or(child) != nil || trace.Of(trace.With(ctx, s)) != nil || s.AppendIDs(nil) != nil || s.Log() != nil {
				t.Error("there is a span")
			}
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestCallers checks that a caller's trace which is not recorded is passed on as it
// is.
func TestCallers(t *testing.T) {
	s := trace.Parse([]byte(strings.TrimSuffix(valid, "1")+"0"), nil)
	source := trace.NewSource(func() uint64 { return 0 })
	p := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithSpanProcessor(tracetest.NewSpanRecorder()))
	source.Record(p.Tracer("test"), 1)
	if got := source.Begin(s, "a request"); got != s || got.Recorded() || got.Child("a part").Or(got) != s {
		t.Errorf("it became %v", got.Traceparent())
	}
	if ids := string(s.AppendIDs(nil)); ids != `,"trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"b7ad6b7169203331"` {
		t.Error(ids)
	}
	own := source.Begin(nil, "another request")
	if !own.Recorded() || !strings.HasSuffix(own.Traceparent(), "1") && !strings.HasSuffix(own.Traceparent(), "3") {
		t.Errorf("%s is not recorded", own.Traceparent())
	}
	if got := trace.Of(trace.With(t.Context(), own)); got != own {
		t.Errorf("the context has %v", got)
	}
	source.Record(nil, 0)
	if source.Begin(nil, "off again").Recorded() {
		t.Error("it still records")
	}
}
