package rest_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fasthttp/websocket"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/logs"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/trace"
)

const (
	callersTrace = "0af7651916cd43dd8448eb211c80319c"
	callersSpan  = "b7ad6b7169203331"
)

// tracedHost is a host whose spans a recorder gets, and whose log is kept.
type tracedHost struct {
	*testkit.Host
	spans *tracetest.SpanRecorder
	log   *safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// serveTraced starts a host that records a share of the requests without a trace, or,
// with a negative share, nothing.
func serveTraced(t testing.TB, share float64) *tracedHost {
	t.Helper()
	h := &tracedHost{spans: tracetest.NewSpanRecorder(), log: &safeBuffer{}}
	source := trace.NewSource(func() uint64 { return 1 << 63 })
	if share >= 0 {
		p := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithSpanProcessor(h.spans))
		source.Record(p.Tracer("test"), share)
	}
	h.Host = testkit.Serve(t, testkit.Options{Dir: twoModels(t), Log: h.log, REST: func(c *rest.Config) {
		c.Traces, c.Predictions = source, logs.NewPredictions(h.log, slog.LevelInfo, "json", nil)
	}})
	return h
}

// take returns the spans that have ended since the last call, by name.
func (h *tracedHost) take() map[string]sdktrace.ReadOnlySpan {
	all := map[string]sdktrace.ReadOnlySpan{}
	for _, s := range h.spans.Ended() {
		all[s.Name()] = s
	}
	h.spans.Reset()
	return all
}

func (h *tracedHost) post(t *testing.T, path, body, traceparent string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if traceparent != "" {
		req.Header.Set("traceparent", traceparent)
		req.Header.Set("tracestate", "vendor=value")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp
}

// TestSpans checks the spans of a request of each kind, and their parents.
func TestSpans(t *testing.T) {
	h := serveTraced(t, 0)
	row := `{"model_id":"pima","data":` + goodRow + `}`
	for name, send := range map[string]func(){
		"POST /api/v1/predict": func() { h.post(t, "/api/v1/predict", row, "00-"+callersTrace+"-"+callersSpan+"-01") },
		"POST /api/v1/predict/batch": func() {
			h.post(t, "/api/v1/predict/batch", `{"model_id":"pima","data":[`+goodRow+`,`+goodRow+`]}`, "00-"+callersTrace+"-"+callersSpan+"-01")
		},
		"WS /api/v1/predict/stream": func() {
			c, _, err := websocket.DefaultDialer.Dial("ws"+h.URL[4:]+"/api/v1/predict/stream", http.Header{"Traceparent": {"00-" + callersTrace + "-" + callersSpan + "-01"}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.WriteMessage(websocket.TextMessage, []byte(row)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.ReadMessage(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		send()
		var spans map[string]sdktrace.ReadOnlySpan
		testkit.Eventually(t, name+" has ended", func() bool {
			if spans == nil {
				spans = map[string]sdktrace.ReadOnlySpan{}
			}
			for n, s := range h.take() {
				spans[n] = s
			}
			return spans[name] != nil
		})
		root := spans[name]
		if got := root.Parent(); got.TraceID().String() != callersTrace || got.SpanID().String() != callersSpan || !got.IsRemote() {
			t.Errorf("%s: its parent is %v", name, got)
		}
		if got := root.SpanContext().TraceState().Get("vendor"); !strings.HasPrefix(name, "WS") && got != "value" {
			t.Errorf("%s: tracestate %q", name, got)
		}
		for _, child := range []string{"decode", "wait", "score", "encode"} {
			s := spans[child]
			if s == nil {
				t.Errorf("%s has no span %s", name, child)
				continue
			}
			if s.Parent().SpanID() != root.SpanContext().SpanID() || s.SpanContext().TraceID().String() != callersTrace {
				t.Errorf("%s: %s is below %v", name, child, s.Parent())
			}
			if s.StartTime().Before(root.StartTime()) || s.EndTime().After(root.EndTime()) || s.EndTime().Before(s.StartTime()) {
				t.Errorf("%s: %s is from %v to %v, the request from %v to %v", name, child, s.StartTime(), s.EndTime(), root.StartTime(), root.EndTime())
			}
		}
		if !slices.ContainsFunc(root.Attributes(), func(a trace.Attribute) bool { return a.Key == "pynomaly.model.id" && a.Value.AsString() == "pima" }) {
			t.Errorf("%s: attributes %v", name, root.Attributes())
		}
		testkit.Eventually(t, "the line has the span", func() bool {
			return strings.Contains(h.log.String(), `"trace_id":"`+callersTrace+`","span_id":"`+root.SpanContext().SpanID().String()+`"`)
		})
	}
}

// TestSampling checks which requests are recorded, and that lines of the log name the
// trace even of those that are not.
func TestSampling(t *testing.T) {
	for _, c := range []struct {
		name        string
		share       float64
		traceparent string
		recorded    bool
		logged      bool
	}{
		{"off, no trace", -1, "", false, false},
		{"off, a trace", -1, "00-" + callersTrace + "-" + callersSpan + "-01", false, true},
		{"none, no trace", 0, "", false, false},
		{"none, a recorded trace", 0, "00-" + callersTrace + "-" + callersSpan + "-01", true, true},
		{"all, no trace", 1, "", true, true},
		{"all, a trace that is not recorded", 1, "00-" + callersTrace + "-" + callersSpan + "-00", false, true},
		{"all, a header that is none", 1, "00-" + strings.ToUpper(callersTrace) + "-" + callersSpan + "-00", true, true},
		{"none, a header that is none", 0, "00-" + callersTrace, false, false},
		{"half, the random number is a half", 0.5, "", false, false},
		{"more than half", 0.51, "", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := serveTraced(t, c.share)
			h.post(t, "/api/v1/predict", `{"model_id":"pima","data":`+goodRow+`}`, c.traceparent)
			bad := h.post(t, "/api/v1/predict", `{"model_id":"nobody","data":`+goodRow+`}`, c.traceparent)
			if bad.StatusCode != http.StatusNotFound {
				t.Errorf("status %d", bad.StatusCode)
			}
			line := h.log.String()
			if logged := strings.Contains(line, `"trace_id":"`); logged != c.logged {
				t.Errorf("with a trace: %v: %s", logged, line)
			}
			if logged := strings.Contains(line, callersTrace); c.traceparent != "" && c.logged && !c.recorded && !logged {
				t.Errorf("the caller's trace is missing: %s", line)
			}
			recorded := len(h.take()) > 0
			if recorded != c.recorded {
				t.Errorf("recorded: %v", recorded)
			}
			_, metrics := do(t, h.Host, sent{method: http.MethodGet, path: "/metrics", header: map[string]string{"Accept": "application/openmetrics-text; version=1.0.0"}})
			if exemplars := strings.Contains(string(metrics), `# {trace_id="`); exemplars != c.recorded {
				t.Errorf("exemplars: %v", exemplars)
			}
			_, metrics = do(t, h.Host, sent{method: http.MethodGet, path: "/metrics"})
			if strings.Contains(string(metrics), "trace_id") {
				t.Error("the old format has exemplars")
			}
		})
	}
}

// TestNativeHistogram checks the native buckets of durations, which only the protocol
// buffers have.
func TestNativeHistogram(t *testing.T) {
	h := serveTraced(t, -1)
	const requests = 20
	for range requests {
		h.post(t, "/api/v1/predict", `{"model_id":"pima","data":`+goodRow+`}`, "")
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.URL+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeProtoDelim)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	in := expfmt.NewDecoder(resp.Body, expfmt.ResponseFormat(resp.Header))
	found := false
	for {
		var family dto.MetricFamily
		if err := in.Decode(&family); err != nil {
			break
		}
		if family.GetName() != "model_prediction_duration_seconds" {
			continue
		}
		for _, m := range family.GetMetric() {
			if m.GetLabel()[0].GetValue() != "pima" || m.GetLabel()[1].GetValue() != "1.0.0" {
				continue
			}
			found = true
			var n, native int64
			for _, delta := range m.GetHistogram().GetPositiveDelta() {
				n += delta
				native += n
			}
			if native != requests || m.GetHistogram().GetSampleCount() != requests || m.GetHistogram().GetSchema() != 2 || len(m.GetHistogram().GetBucket()) == 0 {
				t.Errorf("%v", m.GetHistogram())
			}
		}
	}
	if !found {
		t.Error("there is no histogram")
	}
}
