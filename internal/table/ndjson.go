package table

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
	"github.com/pynomaly/pynomaly-runtime/internal/rows"
)

// maxLine bounds a row of JSON.
const maxLine = 16 << 20

type ndjsonTable struct {
	in      *bufio.Scanner
	out     *bufio.Writer
	wrapped bool // a line may be {"data": row}
	array   bool // rows are the elements of an array
	asArray bool // they are written as one
	written bool // a row was
	extra   bool // unknown features are ignored
	options Options
	names   []string // of the answers of rows without other members, as added.quoted returns them
	rows    []line
	schema  *rows.Schema
	extras  []string // columns that are no features, if they are converted
}

// line is what is kept of a row.
type line struct {
	row    []byte   // nil: no JSON
	names  []string // of the members beside "data"
	others []byte   // those members, each after a comma
}

func newNDJSON(in io.Reader, out io.Writer, s *rows.Schema, o Options) Table {
	t := newJSON(in, bufio.NewWriter(out), o)
	t.schema = s
	extra := addedNames(o, nil, s)
	t.names = extra.quoted()
	if o.Output != "" {
		t.asArray = o.Output == JSON
	}
	_, isFeature := s.Index("data")
	t.wrapped = !isFeature
	return t
}

func newJSON(in io.Reader, out *bufio.Writer, o Options) *ndjsonTable {
	text := WithoutBOM(in)
	t := &ndjsonTable{in: bufio.NewScanner(text), out: out, array: isArray(text), extra: o.Extra, options: o}
	t.in.Buffer(make([]byte, 0, 64<<10), maxLine)
	if t.array {
		t.in.Split((&elements{}).split)
	}
	t.asArray = t.array
	return t
}

// Read implements Table. A line that is no JSON fails alone.
func (t *ndjsonTable) Read(d *rows.Decoder, most int) (int, error) {
	t.rows = t.rows[:0]
	if t.extra {
		d.IgnoreUnknown()
	}
	for len(t.rows) < most && t.in.Scan() {
		text := bytes.TrimSpace(t.in.Bytes())
		if len(text) == 0 && !t.array {
			continue
		}
		l, err := t.unwrap(bytes.Clone(text))
		row := l.row
		if err == nil {
			if err = check(row, false); err != nil { // NaN and Infinity fail their row in the decoder's words
				l.row, err = nil, check(row, true)
			}
		}
		if err != nil {
			l.row = nil
		}
		t.rows = append(t.rows, l)
		if err != nil {
			d.Begin()
			d.Reject(err.Error())
			d.End()
			continue
		}
		if err := d.JSONRow(&jsonscan.Scanner{Data: row, Lenient: true}); err != nil {
			return 0, fmt.Errorf("reading a row: %w", err)
		}
	}
	if err := t.in.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return 0, fmt.Errorf("a row has more than %d bytes", maxLine)
		}
		return 0, fmt.Errorf("reading the file: %w", err)
	}
	if len(t.rows) == 0 {
		return 0, io.EOF
	}
	return len(t.rows), nil
}

// check reads over a line, which must be one value.
func check(line []byte, lenient bool) error {
	s := &jsonscan.Scanner{Data: line, Lenient: lenient}
	if err := s.Skip(); err != nil {
		return err //nolint:wrapcheck // it becomes the row's
	}
	return s.End() //nolint:wrapcheck // it becomes the row's
}

// unwrap takes the row out of {"data": row}, wherever that member stands, and keeps the
// other members, such as an id or a golden score. A line without "data" is the row.
func (t *ndjsonTable) unwrap(text []byte) (line, error) {
	s := &jsonscan.Scanner{Data: text, Lenient: true}
	whole := line{row: text}
	if !t.wrapped || !s.Take('{') {
		return whole, nil
	}
	var l line
	for first := true; ; first = false {
		more, err := s.More('}', first)
		if err != nil {
			return whole, err
		}
		if !more {
			break
		}
		s.Peek()
		start := s.Pos
		key, err := s.String(nil)
		if err != nil {
			return whole, err
		}
		name := string(key)
		if err := s.Colon(); err != nil {
			return whole, err
		}
		s.Peek()
		value := s.Pos
		if err := s.Skip(); err != nil {
			return whole, err
		}
		switch {
		case name == "data" && l.row != nil:
			return whole, errors.New(`has "data" twice`)
		case name == "data":
			l.row = text[value:s.Pos]
		case check(text[value:s.Pos], false) == nil: // NaN cannot be written again
			l.names = append(l.names, name)
			l.others = append(append(l.others, ','), text[start:s.Pos]...)
		}
	}
	if l.row == nil {
		return whole, nil
	}
	return l, s.End()
}

// Write implements Table.
func (t *ndjsonTable) Write(i int, a Answer) error {
	l := t.rows[i]
	separate(t.out, t.asArray, &t.written)
	_, _ = t.out.WriteString(`{"data":`)
	if l.row == nil {
		l.row = []byte("null")
	}
	_, _ = t.out.Write(l.row)
	_, _ = t.out.Write(l.others)
	names := t.names
	if len(l.names) > 0 {
		extra := addedNames(t.options, l.names, t.schema)
		names = extra.quoted()
	}
	return writeAnswer(t.out, names, t.schema.Names(), a)
}

// quote returns a text as JSON has it.
func quote(text string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // a text cannot fail
	return strings.TrimSuffix(b.String(), "\n")
}

// jsonNumber returns a finite number as package encoding/json writes it.
func jsonNumber(v float64) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "null"
	}
	return string(text)
}

// Close implements Table.
func (t *ndjsonTable) Close() error { return endJSON(t.out, t.asArray, t.written) }
