// Package tracing sends the spans of package trace to a collector, by OTLP. What it
// sends, and where, follows the configuration as it changes.
//
// A collector that is slow or down costs memory for a bounded number of spans and
// nothing else: requests never wait for it.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/trace"
)

// Config configures Tracing.
type Config struct {
	Version     string // of the host
	Environment string
	Instance    string        // tells this host from others
	Random      func() uint64 // decides which requests are recorded
	Now         func() time.Time
	Log         *slog.Logger
	Reg         prometheus.Registerer
}

// Limits of what waits for a collector.
const (
	queueSpans    = 4096
	batchSpans    = 512
	sendEvery     = time.Second
	sendTimeout   = 10 * time.Second
	flushTimeout  = 5 * time.Second // at a stop, and after a reload
	complainEvery = time.Minute
)

// Tracing makes the spans of a host's requests and sends them. It is safe for
// concurrent use.
type Tracing struct {
	cfg    Config
	source *trace.Source

	mu      sync.Mutex
	current *sdk.TracerProvider // nil: nothing is recorded
	used    config.Traces
	ending  sync.WaitGroup // providers that send what they still have

	made, sent, failed prometheus.Counter
	complained         atomic.Int64 // Unix time of the last line about a failed export
}

// New returns a Tracing that records nothing yet, and registers its metrics.
func New(c Config) (*Tracing, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	t := &Tracing{
		cfg: c, source: trace.NewSource(c.Random),
		made:   counter("host_trace_spans_total", "Spans that were made. Those that were neither sent nor failed wait, or were dropped since too many waited."),
		sent:   counter("host_trace_spans_sent_total", "Spans that the collector has taken."),
		failed: counter("host_trace_spans_failed_total", "Spans that could not be sent to the collector."),
	}
	for _, m := range []prometheus.Collector{t.made, t.sent, t.failed} {
		if err := c.Reg.Register(m); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return t, nil
}

// Source returns what starts the spans of requests.
func (t *Tracing) Source() *trace.Source { return t.source }

// Start is New with what a configuration says. Spans of this process name the machine and
// the process.
func Start(ctx context.Context, c Config, cfg *config.Config) (*Tracing, error) {
	machine, err := os.Hostname()
	if err != nil {
		c.Log.Warn("the host's name is unknown", "error", err)
	}
	c.Environment, c.Instance = cfg.Server.Environment, machine+":"+strconv.Itoa(os.Getpid())
	t, err := New(c)
	if err != nil {
		return nil, err
	}
	use, err := t.Reload(cfg)
	if err != nil {
		return nil, err
	}
	use(ctx)
	return t, nil
}

// Reload checks a configuration, and returns a function that applies it. It does not
// connect to the collector, which may be down.
func (t *Tracing) Reload(cfg *config.Config) (func(context.Context), error) {
	c := cfg.Traces
	t.mu.Lock()
	same, running := c == t.used && c.CA == "", t.current != nil
	t.mu.Unlock()
	if same && running == (c.Endpoint != "") {
		return func(context.Context) {}, nil
	}
	var next *sdk.TracerProvider
	if c.Endpoint != "" {
		exporter, err := newExporter(&c)
		if err != nil {
			return nil, err
		}
		next = t.provider(exporter)
	}
	return func(context.Context) { t.use(next, c) }, nil
}

// use makes a provider the current one, and ends the one before in the background.
func (t *Tracing) use(next *sdk.TracerProvider, c config.Traces) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.current
	t.current, t.used = next, c
	if next == nil {
		t.source.Record(nil, 0)
	} else {
		t.source.Record(next.Tracer("github.com/pynomaly/pynomaly-runtime"), c.Ratio)
	}
	if before == nil {
		return
	}
	t.ending.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
		defer cancel()
		t.end(ctx, before)
	})
}

// Close sends the spans that wait, for a few seconds at most and not after ctx has
// ended.
func (t *Tracing) Close(ctx context.Context) error {
	t.use(nil, config.Traces{})
	done := make(chan struct{})
	go func() { t.ending.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sending the last spans: %w", ctx.Err())
	}
}

func (t *Tracing) end(ctx context.Context, p *sdk.TracerProvider) {
	if err := p.Shutdown(ctx); err != nil {
		t.cfg.Log.Warn("the last spans were not sent", "error", err)
	}
}

// provider returns what makes spans for an exporter.
func (t *Tracing) provider(e sdk.SpanExporter) *sdk.TracerProvider {
	return sdk.NewTracerProvider(
		sdk.WithSampler(sdk.AlwaysSample()), // the source has decided
		sdk.WithResource(t.resource()),
		sdk.WithSpanProcessor(&counting{t}),
		sdk.WithSpanProcessor(sdk.NewBatchSpanProcessor(&exporter{e, t},
			sdk.WithMaxQueueSize(queueSpans), sdk.WithMaxExportBatchSize(batchSpans), sdk.WithBatchTimeout(sendEvery), sdk.WithExportTimeout(sendTimeout))),
	)
}

// resource describes the host. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES change
// and add to it.
func (t *Tracing) resource() *resource.Resource {
	own := resource.NewSchemaless(
		attribute.String("service.name", "pynomaly-runtime"), attribute.String("service.version", t.cfg.Version),
		attribute.String("service.instance.id", t.cfg.Instance), attribute.String("deployment.environment.name", t.cfg.Environment),
	)
	given, err := resource.New(context.Background(), resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		t.cfg.Log.Warn("OTEL_RESOURCE_ATTRIBUTES cannot be read", "error", err)
	}
	all, err := resource.Merge(own, given)
	if err != nil {
		return own
	}
	return all
}

// counting counts the spans that end.
type counting struct{ t *Tracing }

// OnStart implements sdk.SpanProcessor.
func (*counting) OnStart(context.Context, sdk.ReadWriteSpan) {}

// OnEnd implements sdk.SpanProcessor.
func (c *counting) OnEnd(sdk.ReadOnlySpan) { c.t.made.Inc() }

// Shutdown implements sdk.SpanProcessor.
func (*counting) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdk.SpanProcessor.
func (*counting) ForceFlush(context.Context) error { return nil }

// exporter counts and logs what becomes of spans, in place of the library's global
// handler of errors.
type exporter struct {
	sdk.SpanExporter
	t *Tracing
}

// ExportSpans implements sdk.SpanExporter.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		e.t.sent.Add(float64(len(spans)))
		return nil
	}
	e.t.failed.Add(float64(len(spans)))
	if now := e.t.cfg.Now().Unix(); now-e.t.complained.Load() >= int64(complainEvery/time.Second) && !errors.Is(err, context.Canceled) {
		e.t.complained.Store(now)
		e.t.cfg.Log.Warn("spans could not be sent to the collector: requests go on without", "spans", len(spans), "error", err)
	}
	return nil
}
