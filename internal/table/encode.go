package table

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// csvText encodes CSV as package encoding/csv does, and appends it.
type csvText struct {
	comma   byte // a byte above 127 stands for the character of that number
	unusual bool // comma may be in a number or in a truth value
	explain int  // columns of an explanation
}

func newCSVText(comma byte, explain int) csvText {
	c := rune(comma)
	return csvText{comma: comma, unusual: unicode.IsLetter(c) || unicode.IsDigit(c) || strings.ContainsRune("+-.", c), explain: explain}
}

// header returns the line of a header.
func (e *csvText) header(names []string) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Comma = rune(e.comma)
	_ = w.Write(names) // Error tells it
	w.Flush()
	if err := w.Error(); err != nil {
		return nil, fmt.Errorf("writing the header: %w", err)
	}
	return b.Bytes(), nil
}

// delimiter appends the delimiter.
func (e *csvText) delimiter(b []byte) []byte {
	if e.comma < utf8.RuneSelf {
		return append(b, e.comma)
	}
	return utf8.AppendRune(b, rune(e.comma))
}

// field appends a field, in quotes if it needs them.
func (e *csvText) field(b []byte, text string) []byte {
	if !e.needsQuotes(text) {
		return append(b, text...)
	}
	b = append(b, '"')
	for {
		n := strings.IndexByte(text, '"')
		if n < 0 {
			return append(append(b, text...), '"')
		}
		b = append(append(b, text[:n]...), '"', '"')
		text = text[n+1:]
	}
}

func (e *csvText) needsQuotes(text string) bool {
	switch {
	case text == "":
		return false
	case text == `\.`:
		return true
	case e.comma >= utf8.RuneSelf && strings.ContainsRune(text, rune(e.comma)):
		return true
	}
	for i := range len(text) {
		if c := text[i]; c == '"' || c == '\n' || c == '\r' || c == e.comma && c < utf8.RuneSelf {
			return true
		}
	}
	if c := text[0]; c < utf8.RuneSelf {
		return c == ' ' || c-'\t' <= '\r'-'\t'
	}
	first, _ := utf8.DecodeRuneInString(text)
	return unicode.IsSpace(first)
}

// asItIs reports whether a field of a line without quotes is written as it stands. It
// may report false for one that is.
func asItIs(field []byte) bool {
	if len(field) == 0 {
		return true
	}
	return field[0] > ' ' && field[0] < utf8.RuneSelf && string(field) != `\.` && bytes.IndexByte(field, '\r') < 0
}

// answer appends the columns of an answer, each behind a delimiter, and the end of the
// line.
func (e *csvText) answer(b []byte, a *Answer) []byte {
	if a.Error != "" {
		for range colError {
			b = e.delimiter(b)
		}
		b = e.field(e.delimiter(b), a.Error)
	} else {
		from := len(b)
		b = e.number(b, a.Prediction)
		if math.Float64bits(a.Prediction) == math.Float64bits(a.Score) {
			b = append(b, b[from:]...)
		} else {
			b = e.number(b, a.Score)
		}
		b = e.delimiter(b)
		if a.Anomaly != nil {
			from := len(b)
			b = e.plain(strconv.AppendBool(b, *a.Anomaly), from)
		}
		if a.Confidence != nil {
			b = e.number(b, *a.Confidence)
		} else {
			b = e.delimiter(b)
		}
		b = e.delimiter(b)
	}
	parts := a.contributions()
	for i := range e.explain {
		if i < len(parts) {
			b = e.number(b, parts[i])
		} else {
			b = e.delimiter(b)
		}
	}
	return append(b, '\n')
}

// number appends a delimiter and a number.
func (e *csvText) number(b []byte, v float64) []byte {
	b = e.delimiter(b)
	return e.plain(appendNumber(b, v), len(b))
}

// plain puts the number or truth value that b ends with, from from on, into quotes if it
// has the delimiter in it.
func (e *csvText) plain(b []byte, from int) []byte {
	if !e.unusual {
		return b
	}
	return e.field(b[:from], string(b[from:]))
}

func appendNumber(b []byte, v float64) []byte { return strconv.AppendFloat(b, v, 'g', -1, 64) }

// appendJSONNumber appends a number as package encoding/json writes it. One that is not
// finite is null.
func appendJSONNumber(b []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(b, "null"...)
	}
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		b = strconv.AppendFloat(b, v, 'e', -1, 64)
		if n := len(b); n >= 4 && b[n-4] == 'e' && b[n-3] == '-' && b[n-2] == '0' { // e-09 is written as e-9
			b[n-2] = b[n-1]
			b = b[:n-1]
		}
		return b
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}
