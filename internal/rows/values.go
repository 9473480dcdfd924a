package rows

import (
	"cmp"
	"math"
	"regexp"
	"slices"
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

// IgnoreUnknown makes the decoder ignore unknown features of JSON, whatever the manifest
// says. It lasts for the decoder's life, so it is for decoders with one owner.
func (d *Decoder) IgnoreUnknown() { d.ignore = true }

// Missing sets the texts that Text takes for missing, in whatever case, in columns of
// every type. It lasts for the decoder's life, so it is for decoders with one owner.
func (d *Decoder) Missing(words []string) { d.missing = words }

// missingWords are the texts that mean missing in columns of numbers and truth values. A
// text in a column of texts may be a category of that name.
var missingWords = []string{"nan", "null", "na", "n/a", "none", "<na>", `\n`, "#n/a", "-nan"}

// isMissing reports whether a text means that the value is missing.
func (d *Decoder) isMissing(s string, dtype sdk.DType) bool {
	switch {
	case s == "":
		return true
	case d.missing != nil:
		return contains(d.missing, s)
	}
	return dtype != sdk.String && contains(missingWords, s)
}

func contains(words []string, s string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, s) })
}

// Text sets feature j to a text from a table of texts. Numbers may be written as people
// do, such as ".5", "1." and "007". Truth values may be 0 and 1, and numbers true and
// false.
func (d *Decoder) Text(j int, s string) {
	f := d.schema.features[j]
	if d.isBad {
		return
	}
	d.stamp[j] = d.turn
	if f.DType == sdk.String {
		if d.isMissing(s, f.DType) {
			d.fillMissing(j)
			return
		}
		d.text(s, j)
		return
	}
	if d.missing == nil && d.plainText(j, s) {
		return
	}
	s = strings.TrimSpace(s)
	if d.missing == nil && f.DType != sdk.Bool { // most values are numbers
		if n, ok := parse(s); ok {
			d.number(&n, j)
			return
		}
	}
	if d.isMissing(s, f.DType) {
		d.fillMissing(j)
		return
	}
	v, err := strconv.ParseBool(strings.ToLower(s))
	switch {
	case f.DType == sdk.Bool && err != nil:
		d.fail(f.Name, "is %q; the feature is bool: give true or false", clip(s))
	case f.DType == sdk.Bool:
		d.batch.Column(j).Bools[d.batch.Rows()-1] = v
	case len(s) >= len("true") && err == nil:
		d.truth(j, v)
	default:
		d.writtenNumber(j, s)
	}
}

// truth sets a number to 1 or 0.
func (d *Decoder) truth(j int, v bool) {
	if v {
		d.integer(j, 1)
	} else {
		d.integer(j, 0)
	}
}

// parse reads a number of JSON.
func parse(s string) (jsonscan.Number, bool) {
	sc := jsonscan.Scanner{Data: []byte(s)}
	n, err := sc.Number()
	return n, err == nil && sc.End() == nil
}

// written matches numbers as people write them.
var written = regexp.MustCompile(`^([+-]?)0*([0-9]*)\.?([0-9]*)((?:[eE][+-]?[0-9]+)?)$`)

// thousands matches numbers with separators of thousands.
var thousands = regexp.MustCompile(`^[+-]?[0-9]{1,3}([, '  ][0-9]{3})+(\.[0-9]+)?$`)

// writtenNumber sets feature j to a number that is not written as in JSON.
func (d *Decoder) writtenNumber(j int, s string) {
	f := d.schema.features[j]
	if m := written.FindStringSubmatch(s); m != nil && strings.ContainsAny(s[:len(s)-len(m[4])], "0123456789") {
		text := strings.TrimPrefix(m[1], "+") + cmp.Or(m[2], "0")
		if m[3] != "" {
			text += "." + m[3]
		}
		if n, ok := parse(text + m[4]); ok {
			d.number(&n, j)
			return
		}
	}
	hint := "give a number"
	switch {
	case thousands.MatchString(s):
		hint = "write it without separators of thousands"
	case strings.Count(s, ",") == 1 && !strings.Contains(s, "."):
		hint = "write the decimal sign as a point"
	}
	d.fail(f.Name, "is %q; the feature is %s: %s", clip(s), f.DType, hint)
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
		if f.DType == sdk.String {
			d.fail(f.Name, "is a boolean; the feature is %s", f.DType)
			return
		}
		d.truth(j, x)
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

// Float sets feature j to a number of a typed table, as Value does.
func (d *Decoder) Float(j int, x float64) {
	if !d.isBad {
		d.stamp[j] = d.turn
		d.float(j, x)
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
		d.double(j, x)
	case f.DType == sdk.Float32 && !math.IsInf(float64(float32(x)), 0):
		d.single(j, float32(x))
	case f.DType == sdk.Int64 && x == math.Trunc(x) && x >= -1<<63 && x < 1<<63:
		d.set(j, int64(x))
	default:
		d.fail(f.Name, "is %v; the feature is %s", x, f.DType)
	}
}

// double sets feature j, which is float64.
func (d *Decoder) double(j int, x float64) {
	row := d.batch.Rows() - 1
	if d.batch.Dense() != 0 {
		d.batch.Float64s()[row*len(d.schema.features)+j] = x
	} else {
		d.batch.Column(j).Float64s[row] = x
	}
}

// single sets feature j, which is float32.
func (d *Decoder) single(j int, x float32) {
	row := d.batch.Rows() - 1
	if d.batch.Dense() != 0 {
		d.batch.Float32s()[row*len(d.schema.features)+j] = x
	} else {
		d.batch.Column(j).Float32s[row] = x
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
