package table

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxRecord bounds a record of CSV.
const maxRecord = 16 << 20

// maxQuoted is how much text of several lines is read in search of a closing quote.
const maxQuoted = 1 << 20

// errUnclosed means that a quote is not closed, or not so that the record fits the header.
var errUnclosed = errors.New(`a quoted field begins in this line and does not end where the header's number of fields is complete: write a quote inside of a field twice`)

// errLongQuoted means that no closing quote was found within maxQuoted bytes of several
// lines.
var errLongQuoted = fmt.Errorf("a quoted field begins in this line and has no end within %d bytes of the lines that follow: close its quote, or shorten it", maxQuoted)

// records reads CSV by RFC 4180, with any delimiter, and forgives what programs and
// people write otherwise: quotes inside of a field that has none around it, and lines
// that end in \n. It returns blank lines as records without fields. A quote that is
// not closed costs its own line and no other one.
type records struct {
	in     *bufio.Reader
	comma  byte
	fields int    // of the header; 0: not known yet
	back   []byte // lines that were read and belong to following records
	line   []byte
	out    []string
}

func newRecords(in io.Reader, comma byte) *records {
	return &records{in: bufio.NewReaderSize(in, 64<<10), comma: comma}
}

// next returns the fields of the next record, which are valid until the next call. The
// strings stay valid. After errUnclosed and errLongQuoted the following record can be
// read.
func (r *records) next() ([]string, error) {
	line, err := r.record()
	if err != nil {
		return nil, err
	}
	return r.split(line), nil
}

// record returns the text of the next record, with the end of its line. It is valid until
// the next call. Errors are those of next.
func (r *records) record() ([]byte, error) {
	r.line = r.line[:0]
	if err := r.more(); err != nil {
		return nil, err
	}
	first := len(r.line)
	var q quotes
	open := q.scan(r.line, r.comma)
	for open && len(r.line) < maxQuoted {
		before := len(r.line)
		if err := r.more(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		open = q.scan(r.line[before:], r.comma)
	}
	if !open && (len(r.line) == first || r.fields == 0 || len(r.split(r.line)) == r.fields) {
		return r.line, nil
	}
	// The lines that were searched for the closing quote are records of their own.
	long := open && len(r.line) >= maxQuoted
	r.back = append(bytes.Clone(r.line[first:]), r.back...)
	if long {
		return nil, errLongQuoted
	}
	return nil, errUnclosed
}

// more appends the next line, with its end, to r.line.
func (r *records) more() error {
	if len(r.back) > 0 {
		n := bytes.IndexByte(r.back, '\n') + 1
		if n == 0 {
			r.line = append(r.line, r.back...)
			r.back = nil
			if err := r.rest(); !errors.Is(err, io.EOF) { // the end of the line has not been read
				return err
			}
			return nil
		}
		r.line = append(r.line, r.back[:n]...)
		r.back = r.back[n:]
		return nil
	}
	before := len(r.line)
	err := r.rest()
	if errors.Is(err, io.EOF) && len(r.line) > before {
		return nil
	}
	return err
}

// rest appends text to r.line up to the end of a line.
func (r *records) rest() error {
	for {
		part, err := r.in.ReadSlice('\n')
		r.line = append(r.line, part...)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, io.EOF) && len(part) > 0:
			return nil
		case errors.Is(err, bufio.ErrBufferFull) && len(r.line) < maxRecord:
		case errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("a line has more than %d bytes", maxRecord)
		default:
			return err //nolint:wrapcheck // io.EOF, or the caller wraps it
		}
	}
}

// quotes follows whether text is inside of a quoted field.
type quotes int

const (
	fieldStart quotes = iota
	unquoted
	quoted
	quoteSeen // inside of a quoted field
)

// scan reads over text and reports whether it ends inside of a quoted field.
func (q *quotes) scan(text []byte, comma byte) bool {
	if *q <= unquoted && bytes.IndexByte(text, '"') < 0 {
		return false
	}
	at := *q
	for i, c := range text {
		switch at {
		case fieldStart, unquoted:
			switch {
			case c == comma:
				at = fieldStart
			case c == '"' && at == fieldStart:
				at = quoted
			default:
				at = unquoted
			}
		case quoted:
			if c == '"' {
				at = quoteSeen
			}
		case quoteSeen:
			switch {
			case c == comma:
				at = fieldStart
			case ends(text[i:]):
				at = unquoted
			default:
				at = quoted // of "" the second, or a quote that should have been written twice
			}
		}
	}
	*q = at
	return at == quoted
}

// ends reports whether text is the end of a line.
func ends(text []byte) bool {
	return string(text) == "\n" || string(text) == "\r\n" || string(text) == "\r"
}

// split returns the fields of a record.
func (r *records) split(record []byte) []string {
	r.out = fields(r.out[:0], string(trimEnd(record)), r.comma)
	return r.out
}

// trimEnd returns a record without the end of its line.
func trimEnd(record []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(record, []byte("\n")), []byte("\r"))
}

// fields appends the fields of a record without the end of its line. A blank line has
// none. The strings share the memory of text, but for those with quotes inside.
func fields(to []string, text string, comma byte) []string {
	if text == "" {
		return to
	}
	for {
		if text != "" && text[0] == '"' {
			field, rest, more := unquote(text[1:], comma)
			to = append(to, field)
			if !more {
				return to
			}
			text = rest
			continue
		}
		n := strings.IndexByte(text, comma)
		if n < 0 {
			return append(to, text)
		}
		to = append(to, text[:n])
		text = text[n+1:]
	}
}

// unquote returns the quoted field that text begins with, after its first quote, the
// text after the field's delimiter, and whether there was one.
func unquote(text string, comma byte) (field, rest string, more bool) {
	from := 0
	for {
		n := strings.IndexByte(text[from:], '"')
		if n < 0 {
			return strings.ReplaceAll(text, `""`, `"`), "", false
		}
		n += from
		switch {
		case n+1 == len(text):
			return strings.ReplaceAll(text[:n], `""`, `"`), "", false
		case text[n+1] == comma:
			return strings.ReplaceAll(text[:n], `""`, `"`), text[n+2:], true
		case text[n+1] == '"':
			from = n + 2
		default:
			from = n + 1
		}
	}
}

// delimiters are those that are looked for.
const delimiters = ",;\t|"

// header returns the names in the first line that is not blank, and the delimiter. If
// comma is 0, it takes the one that yields most names for which known is true, and of
// equal ones the first in delimiters. A line "sep=;", as spreadsheets write it, names it.
func header(r *records, comma byte, known func(string) bool) ([]string, error) {
	line, err := r.first()
	if err != nil {
		return nil, err
	}
	if text := strings.TrimRight(string(line), "\r\n"); comma == 0 && len(text) == len("sep=;") && strings.HasPrefix(text, "sep=") {
		comma = text[len("sep=")]
		if line, err = r.first(); err != nil {
			return nil, err
		}
	}
	if comma == 0 {
		best := -1
		for _, c := range []byte(delimiters) {
			r.comma = c
			var n int
			for _, name := range r.split(line) {
				if known(name) {
					n++
				}
			}
			if n > best {
				best, comma = n, c
			}
		}
	}
	r.comma = comma
	r.back = append(bytes.Clone(line), r.back...)
	names, err := r.next()
	if err != nil {
		return nil, err
	}
	r.fields = len(names)
	return append([]string(nil), names...), nil
}

// first returns the first line that is not blank.
func (r *records) first() ([]byte, error) {
	for {
		r.line = r.line[:0]
		if err := r.more(); err != nil {
			return nil, err
		}
		if !ends(r.line) {
			return bytes.Clone(r.line), nil
		}
	}
}
