package rest_test

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/trace"
)

// BenchmarkPredict measures a request and its answer over one connection, with all
// the server's allocations.
func BenchmarkPredict(b *testing.B) {
	h := testkit.Serve(b, testkit.Options{Dir: twoModels(b)})
	for _, data := range []string{goodRow, "[8,155,62,26,495,34,0.543,46]"} {
		body := `{"model_id":"pima","data":` + data + `}`
		b.Run(data[:1], func(b *testing.B) {
			requests(b, h, body)
		})
	}
}

// requests sends a request again and again over one connection.
func requests(b *testing.B, h *testkit.Host, body string) {
	b.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	request := []byte(fmt.Sprintf("POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	in := bufio.NewReader(c)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		length := 0
		for {
			line, err := in.ReadSlice('\n')
			if err != nil {
				b.Fatal(err)
			}
			if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
				length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
			}
			if len(line) == 2 {
				break
			}
		}
		if _, err := in.Discard(length); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTraced measures what traces cost: without them, recorded of one request in
// a hundred, and of all. The processor time is the client's, too.
func BenchmarkTraced(b *testing.B) {
	for name, share := range map[string]float64{"off": -1, "none": 0, "0.01": 0.01, "all": 1} {
		b.Run(name, func(b *testing.B) {
			source := trace.NewSource(rand.Uint64)
			if share >= 0 {
				p := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithBatcher(tracetest.NewNoopExporter()))
				defer func() { _ = p.Shutdown(b.Context()) }()
				source.Record(p.Tracer("bench"), share)
			}
			h := testkit.Serve(b, testkit.Options{Dir: twoModels(b), REST: func(c *rest.Config) { c.Traces = source }})
			b.ResetTimer()
			var before, after syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
			requests(b, h, `{"model_id":"pima","data":`+goodRow+`}`)
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
			b.ReportMetric(float64(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano())/float64(b.N), "cpu-ns/op")
		})
	}
}
