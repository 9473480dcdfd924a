package table

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
)

type csvTable struct {
	in   *csv.Reader
	out  *csv.Writer
	to   []int
	rows [][]string
}

func newCSV(in io.Reader, out io.Writer, s *rows.Schema, o Options) (Table, error) {
	t := &csvTable{in: csv.NewReader(newLines(WithoutBOM(in))), out: csv.NewWriter(out)}
	t.in.FieldsPerRecord = -1
	header, err := t.in.Read()
	for err == nil && isBlank(header) {
		header, err = t.in.Read()
	}
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty: the first line must name the columns")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	if t.to, err = columns(header, s, o); err != nil {
		return nil, err
	}
	for _, name := range header {
		if slices.Contains(added, name) {
			return nil, fmt.Errorf("the file has a column %q already: rename it", name)
		}
	}
	if err := t.out.Write(append(header[:len(header):len(header)], added...)); err != nil {
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
	for len(t.rows) < most {
		record, err := t.in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("reading the file: %w", err)
		}
		if isBlank(record) {
			if len(t.to) > 1 {
				continue
			}
			record[0] = "" // the only column's value is missing
		}
		t.rows = append(t.rows, record)
		d.Begin()
		if len(record) != len(t.to) {
			d.Reject(fmt.Sprintf("the line has %d fields; the header has %d", len(record), len(t.to)))
		} else {
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

func isBlank(record []string) bool { return len(record) == 1 && record[0] == blank }

// Write implements Table.
func (t *csvTable) Write(i int, a Answer) error {
	record := t.rows[i]
	record = record[:min(len(record), len(t.to)):min(len(record), len(t.to))] // as must a long one
	for len(record) < len(t.to) {                                             // a short line keeps its columns apart
		record = append(record, "")
	}
	if a.Error != "" {
		record = append(record, "", "", "", "", a.Error)
	} else {
		record = append(record, number(a.Prediction), number(a.Score), truth(a.Anomaly), optional(a.Confidence), "")
	}
	if err := t.out.Write(record); err != nil {
		return fmt.Errorf("writing a row: %w", err)
	}
	return nil
}

// Close implements Table.
func (t *csvTable) Close() error {
	t.out.Flush()
	if err := t.out.Error(); err != nil {
		return fmt.Errorf("writing the file: %w", err)
	}
	return nil
}

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
