package table

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
)

type csvTable struct {
	missing []string
	in      *records
	out     *csv.Writer
	names   []string
	explain int // columns of an explanation
	to      []int
	rows    [][]string
}

func newCSV(in io.Reader, out io.Writer, s *rows.Schema, o Options) (Table, error) {
	t := &csvTable{missing: o.Missing, in: newRecords(WithoutBOM(in), 0), out: csv.NewWriter(out)}
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
	t.out.Comma = rune(t.in.comma)
	extra := addedNames(o, names, s)
	t.explain = len(extra.contributions)
	if err := t.out.Write(append(names, extra.columns()...)); err != nil {
		return nil, fmt.Errorf("writing the header: %w", err)
	}
	return t, nil
}

// WithoutBOM drops the byte order mark that spreadsheets begin a file with.
func WithoutBOM(in io.Reader) *bufio.Reader {
	r := bufio.NewReader(in)
	if mark, _ := r.Peek(3); string(mark) == "\uFEFF" {
		_, _ = r.Discard(3)
	}
	return r
}

// Read implements Table.
func (t *csvTable) Read(d *rows.Decoder, most int) (int, error) {
	t.rows = t.rows[:0]
	if t.missing != nil {
		d.Missing(t.missing)
	}
	for len(t.rows) < most {
		record, err := t.in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, errUnclosed) && !errors.Is(err, errLongQuoted) {
			return 0, fmt.Errorf("reading the file: %w", err)
		}
		if err == nil && len(record) == 0 {
			if len(t.to) > 1 {
				continue
			}
			record = append(record, "") // the only column's value is missing
		}
		t.rows = append(t.rows, append([]string(nil), record...))
		d.Begin()
		switch {
		case err != nil:
			d.Reject(err.Error())
		case len(record) != len(t.to):
			d.Reject(fmt.Sprintf("the line has %d fields; the header has %d", len(record), len(t.to)))
		default:
			for i, j := range t.to {
				if j >= 0 {
					d.Text(j, record[i])
				}
			}
		}
		d.End()
	}
	if len(t.rows) == 0 {
		return 0, io.EOF
	}
	return len(t.rows), nil
}

// Write implements Table.
func (t *csvTable) Write(i int, a Answer) error {
	record := t.rows[i]
	record = record[:min(len(record), len(t.to)):min(len(record), len(t.to))] // as must a long one
	for len(record) < len(t.to) {                                             // a short line keeps its columns apart
		record = append(record, "")
	}
	if err := t.out.Write(appendTexts(record, a, t.explain)); err != nil {
		return fmt.Errorf("writing a row: %w", err)
	}
	return nil
}

// appendTexts appends an answer to a record, with the given number of columns of an
// explanation.
func appendTexts(record []string, a Answer, explain int) []string {
	if a.Error != "" {
		record = append(record, "", "", "", "", a.Error)
	} else {
		record = append(record, number(a.Prediction), number(a.Score), truth(a.Anomaly), optional(a.Confidence), "")
	}
	parts := a.contributions()
	for i := range explain {
		if i < len(parts) {
			record = append(record, number(parts[i]))
		} else {
			record = append(record, "")
		}
	}
	return record
}

// Close implements Table.
func (t *csvTable) Close() error { return flush(t.out) }

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func truth(b *bool) string {
	if b == nil {
		return ""
	}
	return strconv.FormatBool(*b)
}

func optional(v *float64) string {
	if v == nil {
		return ""
	}
	return number(*v)
}
