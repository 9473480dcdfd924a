package tracing_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/trace"
	"github.com/pynomaly/pynomaly-runtime/internal/tracing"
)

// BenchmarkRecorded measures the spans of one recorded request, with their export. The
// processor time is also that of the server that takes them.
func BenchmarkRecorded(b *testing.B) {
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer sink.Close()
	tr, err := tracing.New(tracing.Config{Random: func() uint64 { return 0 }, Now: time.Now, Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	cfg := config.Default()
	cfg.Traces = config.Traces{Endpoint: sink.URL, Protocol: config.TracesHTTP, Ratio: 1}
	use, err := tr.Reload(cfg)
	if err != nil {
		b.Fatal(err)
	}
	use(b.Context())
	b.ReportAllocs()
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	for b.Loop() {
		s := tr.Source().Begin(nil, "POST /api/v1/predict")
		s.Child("decode").End()
		s.Set(trace.Text("pynomaly.model.id", "forest"), trace.Text("pynomaly.model.version", "1.0.0"), trace.Number("pynomaly.rows", 1))
		s.Past("wait", time.Now())
		s.Child("score").End()
		s.Child("encode").End()
		s.Set(trace.Text("http.request.method", "POST"), trace.Text("http.route", "/api/v1/predict"), trace.Number("http.response.status_code", 200), trace.Text("pynomaly.request_id", "5f7f1ba0-192"))
		s.End()
	}
	_ = tr.Close(context.Background())
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	b.ReportMetric(float64(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano())/float64(b.N), "cpu-ns/op")
}
