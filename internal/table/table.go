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
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
)

// Answer is what is written for one row. Write keeps nothing of it.
type Answer struct {
	Prediction float64
	Score      float64
	Anomaly    *bool
	Confidence *float64
	Error      string // why there is no answer; if set, the other fields are not written
	// Explanation attributes the score to features. It is written if Options.Explain is
	// set.
	Explanation *Explanation
}

// Explanation attributes a score to features.
type Explanation struct {
	Method        string
	BaseValue     float64
	Additive      bool
	Residual      float64
	Contributions []float64 // of each feature, in the order of the schema
}

// The added columns, in order.
const (
	colPrediction = iota
	colScore
	colAnomaly
	colConfidence
	colError
	colExplanation // of JSON alone
)

// answerNames returns the names of the added columns, in order. A name that the table
// has already gets a number.
func answerNames(prefix string, taken []string) []string {
	names := []string{colPrediction: "prediction", colScore: "score", colAnomaly: "is_anomaly", colConfidence: "confidence", colError: "error"}
	for i, name := range names {
		names[i] = free(prefix+name, taken)
	}
	return names
}

// added are the names of the added columns and members.
type added struct {
	answers       []string // as answerNames returns them
	explanation   string   // of JSON
	contributions []string // of tables: the base value and each feature's contribution; nil without Options.Explain
}

// addedNames returns the names that a table with the given columns gets.
func addedNames(o Options, taken []string, s *rows.Schema) added {
	a := added{answers: answerNames(o.Prefix, taken), explanation: free(o.Prefix+"explanation", taken)}
	if !o.Explain {
		return a
	}
	taken = slices.Clone(taken)
	for _, name := range append([]string{"base_value"}, prefixed("contribution_", s.Names())...) {
		name = free(o.Prefix+name, taken)
		a.contributions, taken = append(a.contributions, name), append(taken, name)
	}
	return a
}

// columns returns the names of the added columns of a table.
func (a *added) columns() []string { return slices.Concat(a.answers, a.contributions) }

// quoted returns what stands before the values of an answer of JSON.
func (a *added) quoted() []string {
	var out []string
	for _, name := range append(slices.Clone(a.answers), a.explanation) {
		out = append(out, ","+quote(name)+":")
	}
	return out
}

func prefixed(prefix string, names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = prefix + name
	}
	return out
}

// contributions returns the values of the columns of an explanation; nil: there are
// none.
func (a *Answer) contributions() []float64 {
	if a.Error != "" || a.Explanation == nil {
		return nil
	}
	return append([]float64{a.Explanation.BaseValue}, a.Explanation.Contributions...)
}

// free returns name, or name with the first number from 2 on that makes it free.
func free(name string, taken []string) string {
	got := name
	for n := 2; slices.Contains(taken, got); n++ {
		got = name + "_" + strconv.Itoa(n)
	}
	return got
}

// The formats.
const (
	CSV     = "csv"
	NDJSON  = "ndjson"
	Parquet = "parquet"
	JSON    = "json" // of an output: one array of rows
)

// ErrFormat means that a file's format is not known.
var ErrFormat = errors.New("unknown format: use csv, ndjson, json or parquet")

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
	if name == "-" {
		name = "standard input has no ending"
	}
	return "", fmt.Errorf("%s: %w (--format)", name, ErrFormat)
}

// OutputFormat returns the format that the ending of an output's name says, or "" if it
// says none: then it is that of the input.
func OutputFormat(name string) string {
	if strings.EqualFold(filepath.Ext(name), ".json") {
		return JSON
	}
	format, err := FormatOf(name)
	if err != nil {
		return ""
	}
	return format
}

// others are endings of files that people write tables to, and that this package does not.
var others = map[string]string{
	".xlsx": "an Excel workbook", ".xlsm": "an Excel workbook", ".xls": "an Excel workbook", ".ods": "a spreadsheet",
	".avro": "Avro", ".orc": "ORC", ".feather": "Feather", ".arrow": "Arrow", ".arrows": "Arrow", ".ipc": "Arrow",
	".h5": "HDF5", ".hdf5": "HDF5", ".hdf": "HDF5", ".pkl": "a pickle", ".pickle": "a pickle", ".npy": "a NumPy array", ".npz": "NumPy arrays",
	".db": "a database", ".sqlite": "a database", ".duckdb": "a database", ".xml": "XML", ".html": "HTML", ".yaml": "YAML", ".yml": "YAML",
	".gz": "compressed by gzip", ".zst": "compressed by Zstandard", ".bz2": "compressed by bzip2", ".xz": "compressed by xz", ".zip": "an archive",
}

// CheckOutput refuses the name of an output whose ending says another format than those
// that can be written. Names without such an ending are fine.
func CheckOutput(name string) error {
	if as, known := others[strings.ToLower(filepath.Ext(name))]; known {
		return fmt.Errorf("%s would not be %s: what is written is .csv, .ndjson, .json (an array) or .parquet, so give it one of these endings", name, as)
	}
	return nil
}

// Options say how to treat columns and values.
type Options struct {
	Extra     bool     // copy columns that are not features instead of refusing them
	Delimiter byte     // of CSV; 0: the one by which the header names most features
	Explain   bool     // add explanations
	Prefix    string   // of the names of the added columns
	Output    string   // format to write; empty: that of the input
	Missing   []string // texts in tables of texts that mean that a value is missing; nil: those that package rows knows
}

// ParseDelimiter returns the delimiter of CSV that a text names: a character of ASCII,
// tab, \t, or nothing, which means that it is looked for.
func ParseDelimiter(text string) (byte, error) {
	switch {
	case text == "":
		return 0, nil
	case text == "tab" || text == `\t`:
		return '\t', nil
	case len(text) == 1 && text[0] < utf8.RuneSelf && text[0] != '"' && text[0] != '\n' && text[0] != '\r' && text[0] != 0:
		return text[0], nil
	}
	return 0, fmt.Errorf("%q is no delimiter: give one character, such as ; or tab", text)
}

// Open starts a table. For Parquet, in must be a file.
func Open(format string, in io.Reader, out io.Writer, s *rows.Schema, o Options) (*Table, error) {
	if format == JSON {
		format = NDJSON // whose reader knows arrays by their bracket
	}
	if o.Output == "" || o.Output == format || o.Output == JSON && format == NDJSON {
		t, err := open(format, in, out, s, o)
		if err != nil {
			return nil, err
		}
		return &Table{rowFormat: t}, nil
	}
	t, err := open(format, in, io.Discard, s, o)
	if err != nil {
		return nil, err
	}
	c, err := newConverter(t, o.Output, out, s, o)
	if err != nil {
		return nil, err
	}
	return &Table{rowFormat: c}, nil
}

// open starts a table whose output has the format of the input, or is an array.
func open(format string, in io.Reader, out io.Writer, s *rows.Schema, o Options) (source, error) {
	switch format {
	case CSV:
		return newCSV(in, out, s, o)
	case NDJSON:
		return newNDJSON(in, out, s, o), nil
	case Parquet:
		f, ok := in.(*os.File)
		if !ok {
			return nil, errors.New("a parquet file cannot be read from a pipe: name the file")
		}
		info, err := f.Stat()
		if err != nil {
			return nil, fmt.Errorf("reading the file's size: %w", err)
		}
		if !info.Mode().IsRegular() {
			return nil, errors.New("a parquet file cannot be read from a pipe or directory: name a regular file")
		}
		return newParquet(f, info.Size(), out, s, o)
	}
	return nil, fmt.Errorf("%q: %w", format, ErrFormat)
}

// columns maps the columns of a header to features; -1 means that the column is
// copied.
func columns(names []string, s *rows.Schema, o Options) ([]int, error) {
	to := make([]int, len(names))
	has := make([]bool, len(s.Features()))
	advice := "pass --extra to copy such columns"
	if !slices.ContainsFunc(names, func(name string) bool { _, ok := feature(name, s); return ok }) {
		advice = "no column of the file is one: rename the columns, or give the features their names with model init --train"
	}
	for i, name := range names {
		j, ok := feature(name, s)
		switch {
		case !ok && !o.Extra && !s.IgnoresUnknown():
			return nil, fmt.Errorf("column %q %s; %s", name, s.Unknown(name), advice)
		case !ok:
			to[i] = -1
			continue
		case has[j]:
			return nil, fmt.Errorf("column %q appears twice in the header", name)
		}
		to[i], has[j] = j, true
	}
	var without []string
	for j, name := range s.Names() {
		if !has[j] && s.Required(j) {
			without = append(without, strconv.Quote(name))
		}
	}
	if len(without) > 0 {
		return nil, fmt.Errorf("the file has no column for %s, which the model needs: the columns are %s", some(without), some(names))
	}
	return to, nil
}

// feature returns the feature of a column. Spaces around the name do not matter.
func feature(name string, s *rows.Schema) (int, bool) {
	if j, ok := s.Index(name); ok {
		return j, true
	}
	return s.Index(strings.TrimSpace(name))
}

// some joins the first texts of a list.
func some(list []string) string {
	const most = 10
	if len(list) > most {
		return strings.Join(list[:most], ", ") + fmt.Sprintf(" and %d more", len(list)-most)
	}
	return strings.Join(list, ", ")
}
