// Package table reads rows from CSV, NDJSON and Parquet files, a few at a time, and
// writes the same rows with their predictions.
//
// It does not score: the caller fills in the answers between Read and Write.
package table

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
)

// Answer is what is written for one row.
type Answer struct {
	Prediction float64
	Score      float64
	Anomaly    *bool
	Confidence *float64
	Error      string // why there is no answer; if set, the other fields are not written
}

// Table copies rows from input to output and adds answers.
type Table interface {
	// Read reads up to most rows into d. It returns 0 and io.EOF at the end. Rows
	// that cannot be used are in d.Failed. After another error nothing more can be
	// read.
	Read(d *rows.Decoder, most int) (int, error)
	// Write writes row i of the last Read with its answer.
	Write(i int, a Answer) error
	// Close writes what is left. It does not close the files.
	Close() error
}

// The names of the added columns.
const (
	colPrediction = "prediction"
	colScore      = "score"
	colAnomaly    = "is_anomaly"
	colConfidence = "confidence"
	colError      = "error"
)

var added = []string{colPrediction, colScore, colAnomaly, colConfidence, colError}

// The formats.
const (
	CSV     = "csv"
	NDJSON  = "ndjson"
	Parquet = "parquet"
)

// ErrFormat means that a file's format is not known.
var ErrFormat = errors.New("unknown format: use csv, ndjson or parquet")

// FormatOf guesses the format from a file's name.
func FormatOf(name string) (string, error) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".csv":
		return CSV, nil
	case ".ndjson", ".jsonl", ".json":
		return NDJSON, nil
	case ".parquet", ".pq":
		return Parquet, nil
	}
	return "", fmt.Errorf("%s: %w (--format)", name, ErrFormat)
}

// Options say how to treat columns.
type Options struct {
	Extra bool // copy columns that are not features instead of refusing them
}

// Open starts a table. For Parquet, in must be a file.
func Open(format string, in io.Reader, out io.Writer, s *rows.Schema, o Options) (Table, error) {
	switch format {
	case CSV:
		return newCSV(in, out, s, o)
	case NDJSON:
		return newNDJSON(in, out, s), nil
	case Parquet:
		f, ok := in.(*os.File)
		if !ok {
			return nil, errors.New("a parquet file cannot be read from a pipe: name the file")
		}
		info, err := f.Stat()
		if err != nil {
			return nil, fmt.Errorf("reading the file's size: %w", err)
		}
		return newParquet(f, info.Size(), out, s, o)
	}
	return nil, fmt.Errorf("%q: %w", format, ErrFormat)
}

// columns maps the columns of a header to features; -1 means that the column is
// copied.
func columns(names []string, s *rows.Schema, o Options) ([]int, error) {
	to := make([]int, len(names))
	seen := map[string]bool{}
	for i, name := range names {
		if seen[name] {
			return nil, fmt.Errorf("column %q appears twice in the header", name)
		}
		seen[name] = true
		j, ok := s.Index(name)
		if !ok {
			if !o.Extra && !s.IgnoresUnknown() {
				return nil, fmt.Errorf("column %q %s; pass --extra to copy such columns", name, s.Unknown(name))
			}
			j = -1
		}
		to[i] = j
	}
	return to, nil
}
