package table

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
	"github.com/pynomaly/pynomaly-runtime/internal/rows"
)

// maxLine bounds a row of JSON.
const maxLine = 16 << 20

type ndjsonTable struct {
	in      *bufio.Scanner
	out     *bufio.Writer
	wrapped bool // a line may be {"data": row}
	array   bool // rows are the elements of an array, in and out
	written bool // a row was
	rows    [][]byte
}

func newNDJSON(in io.Reader, out io.Writer, s *rows.Schema) Table {
	text := WithoutBOM(in)
	t := &ndjsonTable{in: bufio.NewScanner(text), out: bufio.NewWriter(out), array: isArray(text)}
	t.in.Buffer(make([]byte, 0, 64<<10), maxLine)
	if t.array {
		t.in.Split((&elements{}).split)
	}
	_, isFeature := s.Index("data")
	t.wrapped = !isFeature
	return t
}

// Read implements Table. A line that is no JSON fails alone.
func (t *ndjsonTable) Read(d *rows.Decoder, most int) (int, error) {
	t.rows = t.rows[:0]
	for len(t.rows) < most && t.in.Scan() {
		line := bytes.TrimSpace(t.in.Bytes())
		if len(line) == 0 && !t.array {
			continue
		}
		row, err := t.unwrap(bytes.Clone(line))
		kept := row
		if err == nil {
			if err = check(row, false); err != nil { // NaN and Infinity fail their row in the decoder's words
				kept, err = nil, check(row, true)
			}
		}
		t.rows = append(t.rows, kept)
		if err != nil {
			t.rows[len(t.rows)-1] = nil
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

// unwrap takes the row out of {"data": row}, wherever that member stands: others, such as
// an id or a golden score, are passed over. A line without one is the row.
func (t *ndjsonTable) unwrap(line []byte) ([]byte, error) {
	s := &jsonscan.Scanner{Data: line, Lenient: true}
	if !t.wrapped || !s.Take('{') {
		return line, nil
	}
	var row []byte
	for first := true; ; first = false {
		more, err := s.More('}', first)
		if err != nil {
			return line, err
		}
		if !more {
			break
		}
		key, err := s.String(nil)
		if err != nil {
			return line, err
		}
		isRow := string(key) == "data"
		if err := s.Colon(); err != nil {
			return line, err
		}
		s.Peek()
		start := s.Pos
		if err := s.Skip(); err != nil {
			return line, err
		}
		if isRow && row != nil {
			return line, errors.New(`has "data" twice`)
		}
		if isRow {
			row = line[start:s.Pos]
		}
	}
	if row == nil {
		return line, nil
	}
	return row, s.End()
}

// Write implements Table.
func (t *ndjsonTable) Write(i int, a Answer) error {
	line := struct {
		Data       json.RawMessage `json:"data"`
		Prediction *float64        `json:"prediction,omitempty"`
		Score      *float64        `json:"score,omitempty"`
		Anomaly    *bool           `json:"is_anomaly,omitempty"`
		Confidence *float64        `json:"confidence,omitempty"`
		Error      string          `json:"error,omitempty"`
	}{Data: t.rows[i], Error: a.Error}
	if a.Error == "" {
		line.Prediction, line.Score, line.Anomaly, line.Confidence = &a.Prediction, &a.Score, a.Anomaly, a.Confidence
	}
	if line.Data == nil {
		line.Data = json.RawMessage("null")
	}
	if t.array {
		separator := byte(',')
		if !t.written {
			separator = '['
		}
		_ = t.out.WriteByte(separator) // an error stays for what is written next
		t.written = true
	}
	enc := json.NewEncoder(t.out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(line); err != nil {
		return fmt.Errorf("writing a row: %w", err)
	}
	return nil
}

// Close implements Table.
func (t *ndjsonTable) Close() error {
	if t.array {
		end := "]\n"
		if !t.written {
			end = "[]\n"
		}
		_, _ = t.out.WriteString(end) // Flush tells the error
	}
	if err := t.out.Flush(); err != nil {
		return fmt.Errorf("writing the file: %w", err)
	}
	return nil
}
