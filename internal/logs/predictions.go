package logs

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/stamp"
	"github.com/pynomaly/pynomaly-runtime/internal/trace"
)

// Prediction is one answered request.
type Prediction struct {
	Time      time.Time
	ModelID   string
	Version   string
	RequestID string
	Latency   time.Duration
	Score     float64 // of a single row; finite
	Rows      int     // 0: a single row
	Anomalies int
	Failed    int
	Span      *trace.Span // nil: the request belongs to no trace
}

// Predictions writes a line per request, at level info, in the format of this
// package's loggers. It encodes lines by hand because every request pays for one.
type Predictions struct {
	w     io.Writer
	level slog.Leveler
	text  *slog.Logger // used if the format is not JSON
	pool  sync.Pool
	every atomic.Int64  // one of this many predictions is logged; 0: all
	count atomic.Uint64 // predictions that may be left out
}

// NewPredictions returns a Predictions that writes to w like a logger of New.
func NewPredictions(w io.Writer, level slog.Leveler, format string, base *slog.Logger) *Predictions {
	p := &Predictions{w: writerFor(w, predictions), level: level}
	if format == "text" {
		p.text = Named(classed(base, predictions), "predictions")
	}
	return p
}

// Sample makes Log write one line for n predictions. It still writes those of batches
// with failed rows and of recorded traces, which somebody will look for.
func (p *Predictions) Sample(n int) { p.every.Store(int64(n)) }

// omitted reports whether a prediction is one of those that are not logged.
func (p *Predictions) omitted(e *Prediction) bool {
	n := p.every.Load()
	if n <= 1 || e.Failed > 0 || e.Span.Recorded() {
		return false
	}
	return p.count.Add(1)%uint64(n) != 1
}

// Log writes a line if the level allows it, and unless Sample leaves it out.
func (p *Predictions) Log(e *Prediction) {
	if p == nil || p.level.Level() > slog.LevelInfo || p.omitted(e) {
		return
	}
	if p.text != nil {
		p.slog(e)
		return
	}
	buf, _ := p.pool.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	b := (*buf)[:0]
	b = append(b, `{"timestamp":"`...)
	b = stamp.Append(b, e.Time)
	if e.Rows == 0 {
		b = append(b, `","level":"INFO","logger":"predictions","message":"prediction","model_id":"`...)
	} else {
		b = append(b, `","level":"INFO","logger":"predictions","message":"batch prediction","model_id":"`...)
	}
	b = append(b, e.ModelID...) // ids and versions need no escapes
	b = append(b, `","version":"`...)
	b = append(b, e.Version...)
	b = append(b, `","latency_ms":`...)
	b = strconv.AppendFloat(b, millis(e.Latency), 'f', -1, 64)
	if e.Rows == 0 {
		b = append(b, `,"prediction_score":`...)
		b = strconv.AppendFloat(b, e.Score, 'g', -1, 64)
	} else {
		b = append(b, `,"rows":`...)
		b = strconv.AppendInt(b, int64(e.Rows), 10)
		b = append(b, `,"anomalies":`...)
		b = strconv.AppendInt(b, int64(e.Anomalies), 10)
		b = append(b, `,"failed":`...)
		b = strconv.AppendInt(b, int64(e.Failed), 10)
	}
	b = append(b, `,"request_id":`...)
	b = strconv.AppendQuote(b, e.RequestID) // printable ASCII: Go quotes it as JSON does
	b = e.Span.AppendIDs(b)
	b = append(b, '}', '\n')
	_, _ = p.w.Write(b) // a log that cannot be written must not fail a request
	*buf = b
	p.pool.Put(buf)
}

func (p *Predictions) slog(e *Prediction) {
	common := []slog.Attr{
		slog.String("model_id", e.ModelID), slog.String("version", e.Version),
		slog.Float64("latency_ms", millis(e.Latency)), slog.String("request_id", e.RequestID),
	}
	if e.Span != nil {
		common = append(common, slog.String("trace_id", e.Span.TraceID()), slog.String("span_id", e.Span.SpanID()))
	}
	if e.Rows == 0 {
		p.text.LogAttrs(context.Background(), slog.LevelInfo, "prediction", append(common, slog.Float64("prediction_score", e.Score))...)
		return
	}
	p.text.LogAttrs(context.Background(), slog.LevelInfo, "batch prediction",
		append(common, slog.Int("rows", e.Rows), slog.Int("anomalies", e.Anomalies), slog.Int("failed", e.Failed))...)
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
