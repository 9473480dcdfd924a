package rows

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Begin starts a row whose values are set one by one. End ends it.
func (d *Decoder) Begin() { d.begin() }

// End ends the row. Features that were not set are missing.
func (d *Decoder) End() { d.end(0) }

// Reject fails the row as a whole.
func (d *Decoder) Reject(reason string) { d.fail("", "%s", reason) }

// Text sets feature j to a text from a table of texts. An empty text, nan and null
// mean missing. Truth values may be 0 and 1.
func (d *Decoder) Text(j int, s string) {
	f := d.schema.features[j]
	if d.isBad {
		return
	}
	d.stamp[j] = d.turn
	if f.DType == sdk.String {
		if s == "" {
			d.fillMissing(j)
			return
		}
		d.text(s, j)
		return
	}
	s = strings.TrimSpace(s)
	switch strings.ToLower(s) {
	case "", "nan", "null", "na":
		d.fillMissing(j)
		return
	}
	if f.DType == sdk.Bool {
		v, err := strconv.ParseBool(strings.ToLower(s))
		if err != nil {
			d.fail(f.Name, "is %q; the feature is bool: give true or false", clip(s))
			return
		}
		d.batch.Column(j).Bools[d.batch.Rows()-1] = v
		return
	}
	digits := strings.TrimPrefix(s, "+")
	if digits != s && strings.HasPrefix(digits, "-") {
		digits = s // not a number
	}
	sc := &jsonscan.Scanner{Data: []byte(digits)}
	n, err := sc.Number()
	if err != nil || sc.End() != nil {
		d.fail(f.Name, "is %q; the feature is %s: give a number", clip(s), f.DType)
		return
	}
	d.number(&n, j)
}

// text sets feature j to a text that has not been checked yet.
func (d *Decoder) text(s string, j int) {
	if !utf8.ValidString(s) {
		d.fail(d.schema.features[j].Name, "is not UTF-8, as texts must be: convert the file")
		return
	}
	d.setString(s, j)
}

// Value sets feature j to a value of a typed table: nil (missing), bool, int64,
// uint64, float64 or string. A number must fit the feature's type.
func (d *Decoder) Value(j int, v any) {
	f := d.schema.features[j]
	if d.isBad {
		return
	}
	d.stamp[j] = d.turn
	row := d.batch.Rows() - 1
	switch x := v.(type) {
	case nil:
		d.fillMissing(j)
	case string:
		if f.DType == sdk.String {
			d.text(x, j)
			return
		}
		d.fail(f.Name, "is a string; the feature is %s", f.DType)
	case bool:
		if f.DType == sdk.Bool {
			d.batch.Column(j).Bools[row] = x
			return
		}
		d.fail(f.Name, "is a boolean; the feature is %s", f.DType)
	case int64:
		d.integer(j, x)
	case uint64:
		d.unsigned(j, x)
	case float64:
		d.float(j, x)
	default:
		d.fail(f.Name, "has a type that is not read")
	}
}

func (d *Decoder) integer(j int, x int64) {
	f := d.schema.features[j]
	switch f.DType {
	case sdk.Int64:
		d.set(j, x)
	case sdk.Float64:
		d.set(j, float64(x))
	case sdk.Float32:
		d.set(j, float32(x))
	default:
		d.fail(f.Name, "is a number; the feature is %s", f.DType)
	}
}

func (d *Decoder) unsigned(j int, x uint64) {
	f := d.schema.features[j]
	switch {
	case x <= math.MaxInt64:
		d.integer(j, int64(x))
	case f.DType == sdk.Float64:
		d.set(j, float64(x))
	case f.DType == sdk.Float32:
		d.set(j, float32(x))
	default:
		d.fail(f.Name, "is %d; the feature is %s", x, f.DType)
	}
}

func (d *Decoder) float(j int, x float64) {
	f := d.schema.features[j]
	switch {
	case math.IsNaN(x):
		d.fillMissing(j)
	case f.DType == sdk.Float64 && !math.IsInf(x, 0):
		d.set(j, x)
	case f.DType == sdk.Float32 && !math.IsInf(float64(float32(x)), 0):
		d.set(j, float32(x))
	case f.DType == sdk.Int64 && x == math.Trunc(x) && x >= -1<<63 && x < 1<<63:
		d.set(j, int64(x))
	default:
		d.fail(f.Name, "is %v; the feature is %s", x, f.DType)
	}
}

func (d *Decoder) set(j int, v any) {
	if err := d.batch.SetValue(d.batch.Rows()-1, j, v); err != nil {
		d.fail(d.schema.features[j].Name, "%v", err)
	}
}

// Names returns the features' names, in order.
func (s *Schema) Names() []string { return s.names }

// IgnoresUnknown reports whether unknown features are ignored.
func (s *Schema) IgnoresUnknown() bool { return s.ignoreUnknown }

// Unknown returns the reason for refusing a column that is not a feature.
func (s *Schema) Unknown(name string) string { return s.unknown(name) }
