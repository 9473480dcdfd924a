package rest

import (
	"slices"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
	"github.com/pynomaly/pynomaly-runtime/internal/nearest"
	"github.com/pynomaly/pynomaly-runtime/internal/stamp"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/predict"
)

// fields is a set of fields of a batch's predictions; 0 means all of them.
type fields uint16

// The fields, as bits in the order of fieldNames.
const (
	fieldPrediction fields = 1 << iota
	fieldIsAnomaly
	fieldConfidence
	fieldScore
	fieldCalibrated
	fieldModelID
	fieldModelVersion
	fieldTime
	fieldLatency
	fieldThreshold
	fieldDifference
	fieldReason
)

// fieldNames returns the names of the fields.
func fieldNames() []string {
	return []string{
		"prediction", "is_anomaly", "confidence", "score", "calibrated", "model_id", "model_version", "prediction_time", "latency_ms", "threshold",
		"score_difference", "confidence_reason",
	}
}

// read reads an array of names.
func (f *fields) read(sc *jsonscan.Scanner) error {
	if sc.Peek() != '[' {
		if err := sc.Skip(); err != nil {
			return err //nolint:wrapcheck // it becomes a problem
		}
		return api.NewProblem(api.ValidationError, "fields", "must be an array of names")
	}
	sc.Pos++
	names := fieldNames()
	for first := true; ; first = false {
		more, err := sc.More(']', first)
		if err != nil {
			return err //nolint:wrapcheck // it becomes a problem
		}
		if !more {
			break
		}
		if sc.Peek() != '"' {
			return api.NewProblem(api.ValidationError, "fields", "must be an array of names")
		}
		name, err := sc.String(nil)
		if err != nil {
			return err //nolint:wrapcheck // it becomes a problem
		}
		i := slices.Index(names, string(name))
		if i < 0 && string(name) == "explanation" {
			return api.NewProblem(api.ValidationError, "fields", "\"explanation\" is not chosen here: set return_explanation to true, which adds it to the fields named")
		}
		if i < 0 {
			return api.NewProblem(api.ValidationError, "fields", "%q is no field of a prediction%s", clip(string(name)), nearest.Hint(string(name), names))
		}
		*f |= 1 << i
	}
	if *f == 0 {
		return api.NewProblem(api.ValidationError, "fields", "is empty: name a field, or leave it out for all of them")
	}
	return nil
}

// appendMember appends a member's name, with a comma unless it is an object's first.
func appendMember(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return append(b, name...)
}

// appendSharedFields is appendShared for the chosen fields.
func appendSharedFields(b []byte, r *predict.Result, c *request) []byte {
	has := func(f fields) bool { return c.fields&f != 0 }
	if has(fieldModelID) {
		b = append(append(append(b, `,"model_id":"`...), r.Model.ID()...), '"')
	}
	if has(fieldModelVersion) {
		b = append(append(append(b, `,"model_version":"`...), r.Model.Version()...), '"')
	}
	if has(fieldTime) {
		b = append(stamp.Append(append(b, `,"prediction_time":"`...), r.Time), '"')
	}
	if has(fieldLatency) {
		b = appendMillis(append(b, `,"latency_ms":`...), r.Latency)
	}
	if has(fieldThreshold) {
		b = append(b, `,"threshold":`...)
		if threshold, ok := r.Model.Threshold(); ok {
			b = appendFloat(b, threshold)
		} else {
			b = append(b, "null"...)
		}
	}
	if d := r.Model.Difference; d > 0 && has(fieldDifference) {
		b = appendFloat(append(b, `,"score_difference":`...), d)
	}
	if reason := r.Model.NoConfidence(); reason != "" && c.Confidence && has(fieldReason) {
		b = appendString(append(b, `,"confidence_reason":`...), reason)
	}
	return b
}

// appendSelected is appendPrediction for the chosen fields.
func appendSelected(b []byte, p model.Prediction, shared []byte, chosen fields) []byte {
	b = append(b, '{')
	has := func(f fields) bool { return chosen&f != 0 }
	if has(fieldPrediction) {
		b = appendFloat(appendMember(b, `"prediction":`), p.Value)
	}
	if has(fieldIsAnomaly) {
		b = appendMember(b, `"is_anomaly":`)
		switch {
		case !p.HasThreshold:
			b = append(b, "null"...)
		case p.Anomaly:
			b = append(b, "true"...)
		default:
			b = append(b, "false"...)
		}
	}
	if has(fieldConfidence) {
		b = appendMember(b, `"confidence":`)
		if p.HasConfidence {
			b = appendFloat(b, p.Confidence)
		} else {
			b = append(b, "null"...)
		}
	}
	if len(shared) > 0 && b[len(b)-1] == '{' {
		shared = shared[1:] // its comma
	}
	b = append(b, shared...)
	if has(fieldScore) {
		b = appendFloat(appendMember(b, `"score":`), p.Score)
	}
	if has(fieldCalibrated) {
		b = appendMember(b, `"calibrated":`)
		if p.Calibrated {
			return append(b, "true"...)
		}
		return append(b, "false"...)
	}
	return b
}
