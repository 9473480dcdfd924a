package rest

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/stamp"
	"github.com/pynomaly/pynomaly-runtime/runtime/explain"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/predict"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// The answers that matter for speed are encoded by hand, as encoding/json would
// encode the types of package api. A test compares both.

// appendShared appends the members that all predictions of an answer share.
func appendShared(b []byte, r *predict.Result, confidence bool) []byte {
	b = append(b, `,"model_id":"`...)
	b = append(b, r.Model.ID()...)
	b = append(b, `","model_version":"`...)
	b = append(b, r.Model.Version()...)
	b = append(b, `","prediction_time":"`...)
	b = stamp.Append(b, r.Time)
	b = append(b, `","latency_ms":`...)
	b = appendMillis(b, r.Latency)
	b = append(b, `,"threshold":`...)
	if threshold, ok := r.Model.Threshold(); ok {
		b = appendFloat(b, threshold)
	} else {
		b = append(b, "null"...)
	}
	if d := r.Model.Difference; d > 0 {
		b = append(b, `,"score_difference":`...)
		b = appendFloat(b, d)
	}
	if confidence {
		if reason := r.Model.NoConfidence(); reason != "" {
			b = append(b, `,"confidence_reason":`...)
			b = appendString(b, reason)
		}
	}
	return b
}

// appendPrediction appends a prediction without its closing brace.
func appendPrediction(b []byte, p model.Prediction, shared []byte) []byte {
	b = append(b, `{"prediction":`...)
	from := len(b)
	b = appendFloat(b, p.Value)
	to := len(b)
	switch {
	case !p.HasThreshold:
		b = append(b, `,"is_anomaly":null`...)
	case p.Anomaly:
		b = append(b, `,"is_anomaly":true`...)
	default:
		b = append(b, `,"is_anomaly":false`...)
	}
	b = append(b, `,"confidence":`...)
	if p.HasConfidence {
		b = appendFloat(b, p.Confidence)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, shared...)
	b = append(b, `,"score":`...)
	if p.Calibrated {
		return append(appendFloat(b, p.Score), `,"calibrated":true`...)
	}
	b = append(b, b[from:to]...) // they are the same
	return append(b, `,"calibrated":false`...)
}

// appendSingle appends the answer to one row.
func appendSingle(b []byte, c *request, r *predict.Result) []byte {
	var shared [512]byte
	var row predict.Row
	r.Next(&row)
	b = appendPrediction(b, row.Prediction, appendShared(shared[:0], r, c.Confidence))
	if r.Explanation != nil {
		b = append(b, `,"explanation":`...)
		b = appendExplanation(b, r.Explanation)
	}
	b = append(b, `,"request_id":`...)
	b = appendString(b, c.RequestID)
	if c.id != nil {
		b = append(b, `,"id":`...)
		b = append(b, c.id...)
	}
	return append(b, '}')
}

// appendBatch appends the answer to a batch.
func appendBatch(b []byte, c *request, r *predict.Result) []byte {
	var space [512]byte
	var shared []byte
	if c.fields == 0 {
		shared = appendShared(space[:0], r, c.Confidence)
	} else {
		shared = appendSharedFields(space[:0], r, c)
	}
	b = append(b, `{"predictions":[`...)
	var row predict.Row
	for i := 0; r.Next(&row); i++ {
		if i > 0 {
			b = append(b, ',')
		}
		switch {
		case row.Failed != nil:
			b = appendRowProblem(b, *row.Failed)
			continue
		case c.fields != 0:
			b = appendSelected(b, row.Prediction, shared, c.fields)
		default:
			b = appendPrediction(b, row.Prediction, shared)
		}
		if row.Explanation != nil {
			b = appendMember(b, `"explanation":`)
			b = appendExplanation(b, row.Explanation)
		}
		b = append(b, '}')
	}
	b = append(b, `],"total_processed":`...)
	b = strconv.AppendInt(b, int64(r.Total), 10)
	b = append(b, `,"total_anomalies":`...)
	b = strconv.AppendInt(b, int64(r.Anomalies), 10)
	b = append(b, `,"total_failed":`...)
	b = strconv.AppendInt(b, int64(r.Failed), 10)
	b = append(b, `,"processing_time_ms":`...)
	b = appendMillis(b, r.Latency)
	b = append(b, `,"throughput_per_second":`...)
	b = strconv.AppendFloat(b, float64(r.Total)/max(r.Latency.Seconds(), 1e-6), 'f', 1, 64)
	b = append(b, `,"request_id":`...)
	return append(appendString(b, c.RequestID), '}')
}

func appendRowProblem(b []byte, e sdk.RowError) []byte {
	b = append(b, `{"error":`...)
	return append(appendProblem(b, rowProblem(e)), '}')
}

// rowProblem returns the problem of a failed row.
func rowProblem(e sdk.RowError) *api.Problem {
	p := api.NewProblem(api.RowError, e.Field, "row %d: %s", e.Row, e.Reason)
	if e.Field != "" {
		p.Detail = "row " + strconv.Itoa(e.Row) + ": feature " + strconv.Quote(e.Field) + " " + e.Reason
	}
	return p
}

func appendProblem(b []byte, p *api.Problem) []byte {
	b = append(b, `{"type":`...)
	b = appendString(b, p.Type)
	b = append(b, `,"title":`...)
	b = appendString(b, p.Title)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(p.Status), 10)
	b = append(b, `,"detail":`...)
	b = appendString(b, p.Detail)
	b = append(b, `,"error_type":`...)
	b = appendString(b, string(p.ErrorType))
	if p.Field != "" {
		b = append(b, `,"field":`...)
		b = appendString(b, p.Field)
	}
	if p.RequestID != "" {
		b = append(b, `,"request_id":`...)
		b = appendString(b, p.RequestID)
	}
	if id, ok := p.ID.([]byte); ok && id != nil {
		b = append(b, `,"id":`...)
		b = append(b, id...)
	}
	return append(b, '}')
}

func appendExplanation(b []byte, e *explain.Explanation) []byte {
	b = append(b, `{"method":`...)
	b = appendString(b, e.Method)
	b = append(b, `,"base_value":`...)
	b = appendFloat(b, e.BaseValue)
	b = append(b, `,"score":`...)
	b = appendFloat(b, e.Score)
	b = append(b, `,"additive":`...)
	b = strconv.AppendBool(b, e.Additive)
	b = append(b, `,"residual":`...)
	b = appendFloat(b, e.Residual)
	b = append(b, `,"evaluations":`...)
	b = strconv.AppendInt(b, int64(e.Evaluations), 10)
	b = append(b, `,"contributions":[`...)
	for i, c := range e.Contributions {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"feature":`...)
		b = appendString(b, c.Feature)
		b = append(b, `,"value":`...)
		b = appendValue(b, c.Value)
		b = append(b, `,"reference":`...)
		b = appendValue(b, c.Reference)
		b = append(b, `,"contribution":`...)
		b = appendFloat(b, c.Contribution)
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

func appendValue(b []byte, v any) []byte {
	switch x := v.(type) {
	case float32:
		if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
			return append(b, "null"...)
		}
		return strconv.AppendFloat(b, float64(x), 'g', -1, 32)
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return append(b, "null"...)
		}
		return appendFloat(b, x)
	case int64:
		return strconv.AppendInt(b, x, 10)
	case string:
		return appendString(b, x)
	case bool:
		return strconv.AppendBool(b, x)
	}
	return append(b, "null"...)
}

// appendFloat appends the shortest text that reads back as v, which must be finite.
func appendFloat(b []byte, v float64) []byte {
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(b, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

// appendMillis appends a duration in milliseconds, to the microsecond.
func appendMillis(b []byte, d time.Duration) []byte {
	return strconv.AppendFloat(b, float64(d.Microseconds())/1e3, 'f', -1, 64)
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			i++
		case c < utf8.RuneSelf:
			b = append(b, c)
			i++
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += size
		}
	}
	return append(b, '"')
}
