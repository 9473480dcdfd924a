package rows

import (
	"bytes"
	"slices"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TooManyRowsError means that a request has more rows than the host accepts.
type TooManyRowsError struct{ Limit int }

func (e *TooManyRowsError) Error() string { return "too many rows" }

// JSONRows reads an array of at most limit rows. The error is a
// *jsonscan.SyntaxError or a *TooManyRowsError. Rows that cannot be used are in
// Failed.
func (d *Decoder) JSONRows(s *jsonscan.Scanner, limit int) error {
	if !s.Take('[') {
		return s.Unexpected("an array of rows")
	}
	for first := true; ; first = false {
		more, err := s.More(']', first)
		if err != nil || !more {
			return err
		}
		if d.total >= limit {
			return &TooManyRowsError{Limit: limit}
		}
		if err := d.JSONRow(s); err != nil {
			return err
		}
	}
}

// shapeReason is the reason of a row that is a single value.
const shapeReason = "is neither an object of features nor an array of values"

// Flat reports whether each of the rows read from JSON is a single value, as if the
// values of one row were given without brackets of their own.
func (d *Decoder) Flat() bool {
	return d.total > 0 && len(d.failed) == d.total && !slices.ContainsFunc(d.failed, func(e sdk.RowError) bool { return e.Reason != shapeReason })
}

// JSONRow reads one row: an object of features by name, or an array of values in
// feature order. The error is a *jsonscan.SyntaxError.
func (d *Decoder) JSONRow(s *jsonscan.Scanner) error {
	d.begin()
	var given int
	var err error
	switch s.Peek() {
	case '{':
		s.Pos++
		given, err = d.object(s)
	case '[':
		s.Pos++
		given, err = d.array(s)
	default:
		d.fail("", shapeReason)
		err = s.Skip()
	}
	if err != nil {
		return err
	}
	d.end(given)
	return nil
}

func (d *Decoder) object(s *jsonscan.Scanner) (given int, err error) {
	given, closed := d.members(s)
	if closed {
		return given, nil
	}
	for k := given; ; k++ {
		more, err := s.More('}', k == 0)
		if err != nil {
			return given, err
		}
		if !more {
			if k == 0 && len(d.schema.features) > 0 {
				d.fail("", "has no features")
			}
			return given, nil
		}
		j, err := d.key(s, k)
		if err != nil {
			return given, err
		}
		if err := s.Colon(); err != nil {
			return given, err
		}
		if j < 0 || d.isBad {
			if err := skip(s); err != nil {
				return given, err
			}
			continue
		}
		if d.stamp[j] == d.turn {
			d.fail(d.schema.features[j].Name, "is given twice")
		}
		d.stamp[j] = d.turn
		given++
		if err := d.value(s, j); err != nil {
			return given, err
		}
	}
}

// key reads the k-th key of a row and returns its feature, or -1.
func (d *Decoder) key(s *jsonscan.Scanner, k int) (int, error) {
	s.Peek()
	if k < len(d.order) {
		// Most rows have the order of the row before.
		j := d.order[k]
		if q := d.schema.quoted[j]; q != nil && bytes.HasPrefix(s.Data[s.Pos:], q) {
			s.Pos += len(q)
			return j, nil
		}
	}
	name, err := s.String(d.scratch)
	if err != nil {
		return -1, err
	}
	j, ok := d.schema.index[string(name)]
	if !ok {
		if !d.schema.ignoreUnknown && !d.ignore {
			d.fail(clip(name), "%s", d.schema.unknown(string(name)))
		}
		return -1, nil
	}
	if k < len(d.order) {
		d.order[k] = j
	}
	return j, nil
}

func (d *Decoder) array(s *jsonscan.Scanner) (int, error) {
	n := len(d.schema.features)
	for k := d.elements(s); ; k++ {
		more, err := s.More(']', k == 0)
		if err != nil {
			return k, err
		}
		if !more {
			if k != n {
				d.fail("", "has %d values; the model has %d features", k, n)
			}
			return k, nil
		}
		if k >= n || d.isBad {
			err = skip(s)
		} else {
			d.stamp[k] = d.turn
			err = d.value(s, k)
		}
		if err != nil {
			return k, err
		}
	}
}

// value reads the value of feature j.
func (d *Decoder) value(s *jsonscan.Scanner, j int) error {
	dtype := d.schema.features[j].DType
	c := s.Peek()
	switch {
	case c == 'n':
		if err := s.Literal("null"); err != nil {
			return err
		}
		d.fillMissing(j)
		return nil
	case dtype == sdk.String && c == '"':
		return d.stringValue(s, j)
	case dtype == sdk.Bool && c == 't':
		d.batch.Column(j).Bools[d.batch.Rows()-1] = true
		return s.Literal("true")
	case dtype == sdk.Bool && c == 'f':
		d.batch.Column(j).Bools[d.batch.Rows()-1] = false
		return s.Literal("false")
	case dtype <= sdk.Int64 && c == 't':
		d.truth(j, true)
		return s.Literal("true")
	case dtype <= sdk.Int64 && c == 'f':
		d.truth(j, false)
		return s.Literal("false")
	case dtype <= sdk.Int64 && (c == '-' || c-'0' <= 9):
		start := s.Pos
		n, err := s.Number()
		if err != nil {
			if s.Pos = start; s.NotANumber() {
				d.failLiteral(j)
				return nil
			}
			return err
		}
		d.number(&n, j)
		return nil
	case s.NotANumber():
		d.failLiteral(j)
		return nil
	}
	start := s.Pos
	if err := s.Skip(); err != nil {
		return err
	}
	d.fail(d.schema.features[j].Name, "is %s; the feature is %s: %s", kindOf(s.Data[start]), dtype, wanted[dtype])
	return nil
}

// failLiteral fails the row, not the request, for a literal that JSON does not have.
func (d *Decoder) failLiteral(j int) {
	d.fail(d.schema.features[j].Name, "is NaN or Infinity, which JSON does not have: send null for a missing value")
}

// skip skips a value that is not used.
func skip(s *jsonscan.Scanner) error {
	if s.NotANumber() {
		return nil
	}
	return s.Skip()
}

var wanted = [...]string{
	sdk.Float32: "give a number without quotes", sdk.Float64: "give a number without quotes",
	sdk.Int64: "give a whole number without quotes", sdk.String: "give a text in quotes", sdk.Bool: "give true or false",
}

func kindOf(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	}
	return "a number"
}

func (d *Decoder) number(n *jsonscan.Number, j int) {
	b := d.batch
	row := b.Rows() - 1
	var ok bool
	switch d.schema.features[j].DType {
	case sdk.Float32:
		var v float32
		v, ok = n.Float32()
		if b.Dense() != 0 {
			b.Float32s()[row*len(d.schema.features)+j] = v
		} else {
			b.Column(j).Float32s[row] = v
		}
	case sdk.Float64:
		var v float64
		v, ok = n.Float64()
		if b.Dense() != 0 {
			b.Float64s()[row*len(d.schema.features)+j] = v
		} else {
			b.Column(j).Float64s[row] = v
		}
	default:
		var v int64
		v, ok = n.Int64()
		if b.Dense() != 0 {
			b.Int64s()[row*len(d.schema.features)+j] = v
		} else {
			b.Column(j).Int64s[row] = v
		}
	}
	if !ok {
		f := d.schema.features[j]
		if f.DType == sdk.Int64 {
			d.fail(f.Name, "is %s; give a whole number from -2^63 to 2^63-1", clip(n.Text))
			return
		}
		d.fail(f.Name, "is %s, too large for %s", clip(n.Text), f.DType)
	}
}

func (d *Decoder) stringValue(s *jsonscan.Scanner, j int) error {
	text, err := s.String(d.scratch)
	if err != nil {
		return err
	}
	d.setString(string(text), j)
	return nil
}

func (d *Decoder) setString(text string, j int) {
	name := d.schema.features[j].Name
	switch {
	case len(text) > MaxStringBytes:
		d.fail(name, "has %d bytes; at most %d are allowed", len(text), MaxStringBytes)
	case strings.IndexByte(text, 0) >= 0:
		d.fail(name, "contains a NUL character, which ends a text in ONNX Runtime: remove it")
	default:
		d.batch.Column(j).Strings[d.batch.Rows()-1] = text
	}
}

// clip shortens a client's text for an error message.
func clip[T string | []byte](s T) string {
	const most = 80
	if len(s) > most {
		return string(s[:most]) + "..."
	}
	return string(s)
}
