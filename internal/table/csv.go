package table

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
	"unsafe"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

type csvTable struct {
	missing []string
	in      *records
	out     *bufio.Writer
	text    csvText
	names   []string
	to      []int
	keeps   bool // the decoder keeps texts
}

// csvChunk is some lines.
type csvChunk struct {
	*csvTable
	lines   []byte
	records []csvRecord
	split   []string
	encoded []byte
}

type csvRecord struct {
	from, to int // in lines, without the end of the line
	quoted   bool
	asItIs   bool  // its fields are written as they stand
	err      error // why the record has no fields
}

func newCSV(in io.Reader, out io.Writer, s *rows.Schema, o Options) (*csvTable, error) {
	t := &csvTable{missing: o.Missing, in: newRecords(WithoutBOM(in), 0), out: bufio.NewWriter(out)}
	names, err := header(t.in, o.Delimiter, func(name string) bool { _, ok := feature(name, s); return ok })
	if errors.Is(err, io.EOF) {
		return nil, errEmpty
	}
	if err != nil {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	if t.to, err = columns(names, s, o); err != nil {
		return nil, err
	}
	t.names = names
	for _, f := range s.Features() {
		t.keeps = t.keeps || f.DType == sdk.String
	}
	extra := addedNames(o, names, s)
	t.text = newCSVText(t.in.comma, len(extra.contributions))
	first, err := t.text.header(append(names, extra.columns()...))
	if err != nil {
		return nil, err
	}
	_, _ = t.out.Write(first) // an error stays for what is written next
	return t, nil
}

// WithoutBOM drops the byte order mark that spreadsheets begin a file with. A reader of a
// file that is no text of this encoding fails with words about it.
func WithoutBOM(in io.Reader) *bufio.Reader {
	r := bufio.NewReader(in)
	mark, _ := r.Peek(4)
	if bytes.HasPrefix(mark, []byte("\uFEFF")) {
		_, _ = r.Discard(3)
	} else if err := noText(mark); err != nil {
		return bufio.NewReader(unreadable{err})
	}
	return r
}

// noText returns an error if a file that begins with these bytes is UTF-16 or packed.
func noText(begin []byte) error {
	if len(begin) < 4 {
		return nil
	}
	switch {
	case begin[0] == 0xff && begin[1] == 0xfe && begin[3] == 0, begin[0] == 0xfe && begin[1] == 0xff && begin[2] == 0:
		return errors.New("the file is UTF-16: save it as UTF-8")
	case begin[0] == 0x1f && begin[1] == 0x8b:
		return errors.New("the file is compressed by gzip: unpack it first")
	case string(begin) == "PK\x03\x04":
		return errors.New("the file is an archive or an Excel workbook: unpack it, or save it as CSV")
	}
	return nil
}

// unreadable is a reader that fails.
type unreadable struct{ err error }

func (u unreadable) Read([]byte) (int, error) { return 0, u.err }

// NewChunk implements rowFormat.
func (t *csvTable) NewChunk() Chunk { return &csvChunk{csvTable: t} }

// Cut implements rowFormat.
func (t *csvTable) Cut(to Chunk, most int) error {
	c, _ := to.(*csvChunk)
	c.lines, c.records, c.encoded = c.lines[:0], c.records[:0], c.encoded[:0]
	for len(c.records) < most {
		line, err := t.in.record()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, errUnclosed) && !errors.Is(err, errLongQuoted) {
			return fmt.Errorf("reading the file: %w", err)
		}
		if err == nil && ends(line) && len(t.to) > 1 {
			continue // a blank line; in a table of one column its value is missing
		}
		from := len(c.lines)
		c.lines = append(c.lines, line...)
		c.records = append(c.records, csvRecord{
			from: from, to: from + len(trimEnd(line)), err: err,
			quoted: bytes.IndexByte(line, '"') >= 0,
		})
	}
	if len(c.records) == 0 {
		return io.EOF
	}
	c.lines = append(c.lines, make([]byte, rows.Looked)...)
	return nil
}

// Size implements Chunk.
func (c *csvChunk) Size() int { return len(c.lines) }

// Decode implements Chunk.
func (c *csvChunk) Decode(d *rows.Decoder) (int, error) {
	if c.missing != nil {
		d.Missing(c.missing)
	}
	for i := range c.records {
		r := &c.records[i]
		d.Begin()
		switch {
		case r.err != nil:
			d.Reject(r.err.Error())
		case r.quoted:
			c.decodeQuoted(d, r)
		default:
			c.decode(d, r)
		}
		d.End()
	}
	return len(c.records), nil
}

// decode reads a record without quotes.
func (c *csvChunk) decode(d *rows.Decoder, r *csvRecord) {
	comma := c.text.comma
	k, at, done := d.Plain(c.lines, r.from, r.to, comma, c.to)
	r.asItIs = comma < utf8.RuneSelf
	if done {
		return
	}
	if n := c.count(r); n != len(c.to) {
		c.rejectCount(d, n)
		r.asItIs = false
		return
	}
	text := c.view(c.lines[r.from:r.to])
	for k < len(c.to) {
		end := r.to
		if n := bytes.IndexByte(c.lines[at:r.to], comma); n >= 0 {
			end = at + n
		}
		r.asItIs = r.asItIs && asItIs(c.lines[at:end])
		if j := c.to[k]; j >= 0 {
			d.Text(j, text[at-r.from:end-r.from])
		}
		k, at = k+1, end+1
		if k == len(c.to) {
			return
		}
		n, next, _ := d.Plain(c.lines, at, r.to, comma, c.to[k:])
		k, at = k+n, next
	}
}

// count returns how many fields a record without quotes has.
func (c *csvChunk) count(r *csvRecord) int {
	return bytes.Count(c.lines[r.from:r.to], []byte{c.text.comma}) + 1
}

func (c *csvChunk) rejectCount(d *rows.Decoder, n int) {
	d.Reject(fmt.Sprintf("the line has %d fields; the header has %d", n, len(c.to)))
}

// decodeQuoted reads a record with quotes.
func (c *csvChunk) decodeQuoted(d *rows.Decoder, r *csvRecord) {
	all := c.fields(r)
	if len(all) != len(c.to) {
		c.rejectCount(d, len(all))
		return
	}
	for k, j := range c.to {
		if j >= 0 {
			d.Text(j, all[k])
		}
	}
}

// fields returns the fields of a record until the next call. Those of a record that could
// not be read are none.
func (c *csvChunk) fields(r *csvRecord) []string {
	c.split = c.split[:0]
	if r.err != nil {
		return c.split
	}
	if c.split = fields(c.split, c.view(c.lines[r.from:r.to]), c.text.comma); len(c.split) == 0 {
		c.split = append(c.split, "")
	}
	return c.split
}

// view returns a text of the chunk, which is valid as long as the rows of the chunk are,
// or for good if the decoder keeps texts.
func (c *csvChunk) view(text []byte) string {
	if c.keeps {
		return string(text)
	}
	return unsafe.String(unsafe.SliceData(text), len(text))
}

// Write implements Chunk.
func (c *csvChunk) Write(i int, a Answer) error {
	r := &c.records[i]
	if r.asItIs {
		c.encoded = append(c.encoded, c.lines[r.from:r.to]...)
	} else {
		all := c.fields(r) // a long line loses what is behind its columns, a short one keeps its columns apart
		for k := range c.to {
			if k > 0 {
				c.encoded = c.text.delimiter(c.encoded)
			}
			if k < len(all) {
				c.encoded = c.text.field(c.encoded, all[k])
			}
		}
	}
	c.encoded = c.text.answer(c.encoded, &a)
	return nil
}

// Put implements rowFormat.
func (t *csvTable) Put(from Chunk) error {
	c, _ := from.(*csvChunk)
	return writeRows(t.out, c.encoded)
}

// writeRows writes encoded rows.
func writeRows(out *bufio.Writer, encoded []byte) error {
	if _, err := out.Write(encoded); err != nil {
		return fmt.Errorf("writing a row: %w", err)
	}
	return nil
}

func (t *csvTable) end() error { return flush(t.out) }

// flush writes what is left of a text.
func flush(out *bufio.Writer) error {
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing the file: %w", err)
	}
	return nil
}
