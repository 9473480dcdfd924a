package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// schemaOf returns the schema for rows of a version.
func schemaOf(v *api.ModelVersion) (*rows.Schema, error) {
	if len(v.Features) == 0 {
		return nil, errors.New("it has no features")
	}
	m := manifest.Manifest{IgnoreUnknown: v.Unknown == "ignore"}
	for _, f := range v.Features {
		dtype, err := sdk.ParseDType(f.DType)
		if err != nil {
			return nil, fmt.Errorf("feature %q: %w", f.Name, err)
		}
		missing, err := missingOf(f.Missing, dtype)
		if err != nil {
			return nil, fmt.Errorf("feature %q: missing: %w", f.Name, err)
		}
		m.Features = append(m.Features, manifest.Feature{Feature: sdk.Feature{Name: f.Name, DType: dtype}, Missing: missing})
	}
	return rows.NewSchema(&m), nil
}

// missingOf parses the rule for a missing value.
func missingOf(text json.RawMessage, dtype sdk.DType) (manifest.Missing, error) {
	if len(text) == 0 {
		return manifest.Missing{}, nil
	}
	if string(text) == `"nan"` && (dtype == sdk.Float32 || dtype == sdk.Float64) {
		return manifest.Missing{Policy: manifest.MissingIsNaN}, nil
	}
	var value any
	var err error
	switch dtype {
	case sdk.Float32:
		value, err = decoded[float32](text)
	case sdk.Float64:
		value, err = decoded[float64](text)
	case sdk.Int64:
		value, err = decoded[int64](text)
	case sdk.String:
		value, err = decoded[string](text)
	default:
		value, err = decoded[bool](text)
	}
	if err != nil {
		return manifest.Missing{}, err
	}
	return manifest.Missing{Policy: manifest.MissingIsValue, Value: value}, nil
}

func decoded[T any](text json.RawMessage) (v T, err error) {
	var p *T
	if err := json.Unmarshal(text, &p); err != nil {
		return v, fmt.Errorf("%.60q: %w", text, err)
	}
	if p == nil {
		return v, errors.New("null is not a value")
	}
	return *p, nil
}

// appendRow appends a row as an array in the features' order, so that the host reads
// exactly these values. NaN becomes null, since only a missing value can be NaN
// here. If a feature's text cannot be written, appendRow returns the feature's name
// as field.
func appendRow(b []byte, in *sdk.Batch, row int) (_ []byte, field string) {
	b = append(b, '[')
	for j, f := range in.Features() {
		if j > 0 {
			b = append(b, ',')
		}
		switch x := in.Value(row, j).(type) {
		case float32:
			b = appendFloat(b, float64(x), 32)
		case float64:
			b = appendFloat(b, x, 64)
		case int64:
			b = strconv.AppendInt(b, x, 10)
		case bool:
			b = strconv.AppendBool(b, x)
		case string:
			text, err := json.Marshal(x)
			if err != nil || !utf8.ValidString(x) {
				return b, f.Name
			}
			b = append(b, text...)
		}
	}
	return append(b, ']'), ""
}

func appendFloat(b []byte, v float64, bits int) []byte {
	if math.IsNaN(v) {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, bits)
}
