//go:build monitoring

package monitoring_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

// collector is a running receiver of OpenTelemetry's collector.
type collector struct {
	grpc, http string // URLs
	mu         sync.Mutex
	out        bytes.Buffer
}

// Write keeps what the collector prints.
func (c *collector) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(p)
}

// startCollector starts a collector, which the test's cleanup ends.
func startCollector(t *testing.T) *collector {
	t.Helper()
	grpc, http := testkit.FreeAddress(t), testkit.FreeAddress(t)
	c := &collector{grpc: "http://" + grpc, http: "http://" + http}
	cmd := exec.Command(tool(t, "collector"), "-grpc", grpc, "-http", http)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = c, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("collector: %s", log.String())
		}
	})
	return c
}

// span is what the tests read of a span in OTLP's JSON.
type span struct {
	Name, TraceID, SpanID, ParentSpanID string
	Kind                                int
	Attributes                          []struct {
		Key   string
		Value struct{ StringValue, IntValue string }
	}
}

func (s span) attribute(key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.StringValue + a.Value.IntValue
		}
	}
	return ""
}

// spans returns the received spans of a trace by their names, and the attributes of
// the host that sent them.
func (c *collector) spans(t *testing.T, traceID string) (all map[string]span, host string) {
	t.Helper()
	c.mu.Lock()
	text := c.out.String()
	c.mu.Unlock()
	all = map[string]span{}
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		var received struct {
			ResourceSpans []struct {
				Resource   json.RawMessage
				ScopeSpans []struct{ Spans []span }
			}
		}
		if err := json.Unmarshal([]byte(line), &received); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		for _, r := range received.ResourceSpans {
			for _, scope := range r.ScopeSpans {
				for _, s := range scope.Spans {
					if s.TraceID == traceID {
						all[s.Name], host = s, string(r.Resource)
					}
				}
			}
		}
	}
	return all, host
}

// TestTraces: a request that goes through REST and a process plugin is one trace in a
// real collector, with each span below the right one, by either protocol; the plugin
// and the log know their places in it. At its end the host sends what still waits.
func TestTraces(t *testing.T) {
	c := startCollector(t)
	for n, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			p := hosttest.NewPlace(t)
			testkit.WriteFaulty(t, p.Models, "plugin", `"fault":"tells"`, "")
			endpoint := c.grpc
			if protocol != "grpc" {
				endpoint = c.http
			}
			h := hosttest.Start(t, p, hosttest.Options{Plugins: true, Args: []string{"--trace-endpoint", endpoint, "--trace-protocol", protocol, "--trace-ratio", "0"}, Env: []string{"OTEL_SERVICE_NAME=scorer"}})
			h.Serves("plugin")
			trace, caller := fmt.Sprintf("0af7651916cd43dd8448eb211c80319%d", n), "b7ad6b7169203331"
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.URL+"/api/v1/predict", strings.NewReader(`{"model_id":"plugin","data":[1,2]}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("traceparent", "00-"+trace+"-"+caller+"-01")
			req.Header.Set("tracestate", "vendor=value")
			req.Header.Set("X-Request-ID", "the-request")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("status %d", resp.StatusCode)
			}
			h.Signal(syscall.SIGTERM) // the spans must arrive all the same
			h.Wait(hosttest.Hangs)
			const root, call = "POST /api/v1/predict", "pynomaly.plugin.v1.Scorer/Score"
			parents := map[string]string{root: "", "decode": root, "wait": root, "score": root, call: "score", "encode": root}
			var spans map[string]span
			var host string
			testkit.Eventually(t, "the trace is complete", func() bool {
				spans, host = c.spans(t, trace)
				return len(spans) >= len(parents)
			})
			for name, parent := range parents {
				want := caller
				if parent != "" {
					want = spans[parent].SpanID
				}
				if s, ok := spans[name]; !ok || s.ParentSpanID != want {
					t.Errorf("%s is below %s, want %s (%s)", name, s.ParentSpanID, want, parent)
				}
			}
			if s := spans[root]; s.attribute("pynomaly.model.id") != "plugin" || s.attribute("http.response.status_code") != "200" || s.attribute("pynomaly.request_id") != "the-request" || s.Kind != 2 || spans[call].Kind != 3 {
				t.Errorf("%+v, %+v", s, spans[call])
			}
			if !strings.Contains(host, `"scorer"`) || !strings.Contains(host, "deployment.environment.name") {
				t.Errorf("the host is %s", host)
			}
			if told := "traceparent [00-" + trace + "-" + spans[call].SpanID + "-01] tracestate [vendor=value]"; !h.Logged(told) {
				t.Errorf("the plugin was not told %s", told)
			}
			if line := `"request_id":"the-request","trace_id":"` + trace + `","span_id":"` + spans[root].SpanID + `"`; !h.Logged(line) {
				t.Errorf("the log lacks %s", line)
			}
		})
	}
}
