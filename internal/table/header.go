package table

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/parquet-go/parquet-go"

	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
)

// Names returns the names of a file's columns: the header of CSV, with the delimiter by
// which there are most, the columns of Parquet, and the members of the first row of
// NDJSON or of a JSON array.
func Names(format string, in *os.File) (names []string, err error) {
	defer rescue(&err)
	switch format {
	case CSV:
		names, err = header(newRecords(WithoutBOM(in), 0), 0, func(string) bool { return true })
		if errors.Is(err, io.EOF) {
			return nil, errEmpty
		}
		return names, err
	case NDJSON:
		return firstRow(in)
	case Parquet:
		info, err := in.Stat()
		if err != nil {
			return nil, fmt.Errorf("reading the file's size: %w", err)
		}
		if err := checkFooter(in, info.Size()); err != nil {
			return nil, err
		}
		file, err := parquet.OpenFile(in, info.Size())
		if err != nil {
			return nil, fmt.Errorf("opening the parquet file: %w", err)
		}
		for _, field := range file.Schema().Fields() {
			names = append(names, field.Name())
		}
		return names, nil
	}
	return nil, fmt.Errorf("%q: %w", format, ErrFormat)
}

// errEmpty means that a file of CSV has no header.
var errEmpty = errors.New("the file is empty: the first line must name the columns")

// firstRow returns the names of the members of the first row of JSON.
func firstRow(in io.Reader) ([]string, error) {
	t := newJSON(in, bufio.NewWriter(io.Discard), Options{})
	t.wrapped = true
	for t.in.Scan() {
		text := t.in.Bytes()
		l, err := t.unwrap(text)
		if err != nil {
			return nil, fmt.Errorf("reading the first row: %w", err)
		}
		s := &jsonscan.Scanner{Data: l.row, Lenient: true}
		if s.Peek() == 0 {
			continue // a blank line
		}
		if !s.Take('{') {
			return nil, errors.New("the first row is no object, so the file names no columns")
		}
		return members(s)
	}
	if err := t.in.Err(); err != nil {
		return nil, fmt.Errorf("reading the file: %w", err)
	}
	return nil, errors.New("the file has no rows")
}

// members returns the names of an object's members, behind its brace.
func members(s *jsonscan.Scanner) ([]string, error) {
	var names []string
	for first := true; ; first = false {
		more, err := s.More('}', first)
		if err != nil || !more {
			return names, err
		}
		s.Peek()
		key, err := s.String(nil)
		if err != nil {
			return nil, err
		}
		names = append(names, string(key))
		if err := s.Colon(); err != nil {
			return nil, err
		}
		s.Peek()
		if err := s.Skip(); err != nil {
			return nil, err
		}
	}
}
