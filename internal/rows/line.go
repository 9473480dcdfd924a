package rows

import (
	"strings"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Looked is how many bytes behind a line Plain may look at. They must be there.
const Looked = 18

// inNumbers are characters that plain reads as a part of a number.
const inNumbers = "0123456789.eE+-"

// Plain reads fields of the line data[at:to] of a table of texts, as Text does, for as long
// as they are short numbers and all features are float32 or all are float64. Field k sets
// feature features[k]; Plain stops at a field that is no feature. It returns how many
// fields it read, where the next one begins, and whether these were all fields of the line
// and all of features. It never fails the row.
func (d *Decoder) Plain(data []byte, at, to int, comma byte, features []int) (n, next int, done bool) {
	singles, doubles := d.target()
	if (singles == nil && doubles == nil) || d.missing != nil || strings.IndexByte(inNumbers, comma) >= 0 {
		return 0, at, false
	}
	data = data[:to+Looked]
	for k, j := range features {
		if j < 0 {
			return k, at, false
		}
		end := plain(data, at, singles, doubles, j)
		switch {
		case end == to:
			d.stamp[j] = d.turn
			return k + 1, to, k+1 == len(features)
		case end == 0 || end > to || data[end] != comma:
			return k, at, false
		}
		d.stamp[j] = d.turn
		at = end + 1
	}
	return len(features), at, false
}

// Cell reads a text as Text reads the value of feature j, and returns it in the feature's
// type. It returns false if the text means that the value is missing, or cannot be read.
// The rows of the decoder stay as they are.
func (d *Decoder) Cell(j int, text string) (any, bool) {
	f := d.schema.features[j]
	if f.DType != sdk.String {
		text = strings.TrimSpace(text)
	}
	if d.isMissing(text, f.DType) {
		return nil, false
	}
	bad, isBad := d.bad, d.isBad
	d.begin()
	d.Text(j, text)
	v, ok := d.batch.Value(d.batch.Rows()-1, j), !d.isBad
	d.batch.Resize(d.batch.Rows() - 1)
	d.bad, d.isBad = bad, isBad
	return v, ok
}
