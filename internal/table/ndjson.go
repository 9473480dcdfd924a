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
	schema  *rows.Schema
	extras  []string // columns that are no features, if they are converted
}

// jsonChunk is some lines, or elements of an array.
type jsonChunk struct {
	*ndjsonTable
	text    []byte
	ends    []int // of the rows in text
	rows    []line
	encoded []byte
}

// line is what is kept of a row.
type line struct {
	err    error    // why it cannot be read
	row    []byte   // nil: no JSON
	whole  []byte   // the row, even if it has NaN or Infinity and so is no JSON
	names  []string // of the members beside "data"
	others []byte   // those members, each after a comma
}

func newNDJSON(in io.Reader, out io.Writer, s *rows.Schema, o Options) *ndjsonTable {
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

// NewChunk implements rowFormat.
func (t *ndjsonTable) NewChunk() Chunk { return &jsonChunk{ndjsonTable: t} }

// Cut implements rowFormat.
func (t *ndjsonTable) Cut(to Chunk, most int) error {
	c, _ := to.(*jsonChunk)
	c.text, c.ends, c.rows, c.encoded = c.text[:0], c.ends[:0], c.rows[:0], c.encoded[:0]
	for len(c.ends) < most && t.in.Scan() {
		text := bytes.TrimSpace(t.in.Bytes())
		if len(text) == 0 && !t.array {
			continue
		}
		c.text = append(c.text, text...)
		c.ends = append(c.ends, len(c.text))
	}
	if err := t.in.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return fmt.Errorf("a row has more than %d bytes", maxLine)
		}
		return fmt.Errorf("reading the file: %w", err)
	}
	if len(c.ends) == 0 {
		return io.EOF
	}
	return nil
}

// Size implements Chunk.
func (c *jsonChunk) Size() int { return len(c.text) }

// read parses the rows as far as it must to copy them. A line that is no JSON fails alone.
func (c *jsonChunk) read() {
	from := 0
	for _, end := range c.ends[len(c.rows):] {
		l, err := c.unwrap(c.text[from:end:end])
		from = end
		row := l.row
		if err == nil {
			if err = check(row, false); err != nil { // NaN and Infinity fail their row in the decoder's words
				l.row, err = nil, check(row, true)
			}
		}
		if l.whole = row; err != nil {
			l.row, l.err = nil, err
		}
		c.rows = append(c.rows, l)
	}
}

// Decode implements Chunk.
func (c *jsonChunk) Decode(d *rows.Decoder) (int, error) {
	if c.extra {
		d.IgnoreUnknown()
	}
	c.read()
	for i := range c.rows {
		l := &c.rows[i]
		if l.err != nil {
			d.Begin()
			d.Reject(l.err.Error())
			d.End()
			continue
		}
		if err := d.JSONRow(&jsonscan.Scanner{Data: l.whole, Lenient: true}); err != nil {
			return 0, fmt.Errorf("reading a row: %w", err)
		}
	}
	return len(c.rows), nil
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

// Write implements Chunk.
func (c *jsonChunk) Write(i int, a Answer) error {
	l := &c.rows[i]
	b := c.encoded
	if c.asArray {
		b = append(b, ',')
	}
	b = append(b, `{"data":`...)
	if l.row == nil {
		b = append(b, "null"...)
	} else {
		b = append(b, l.row...)
	}
	b = append(b, l.others...)
	names := c.names
	if len(l.names) > 0 {
		extra := addedNames(c.options, l.names, c.schema)
		names = extra.quoted()
	}
	c.encoded = appendJSONAnswer(b, names, c.schema.Names(), &a)
	return nil
}

// Put implements rowFormat.
func (t *ndjsonTable) Put(from Chunk) error {
	c, _ := from.(*jsonChunk)
	return putJSON(t.out, t.asArray, &t.written, c.encoded)
}

// putJSON writes encoded rows. Those of an array have a comma before each.
func putJSON(out *bufio.Writer, array bool, written *bool, encoded []byte) error {
	if array && !*written && len(encoded) > 0 {
		encoded[0] = '['
	}
	*written = *written || len(encoded) > 0
	return writeRows(out, encoded)
}

// quote returns a text as JSON has it.
func quote(text string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // a text cannot fail
	return strings.TrimSuffix(b.String(), "\n")
}

func (t *ndjsonTable) end() error { return endJSON(t.out, t.asArray, t.written) }
