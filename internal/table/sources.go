package table

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
)

// columns implements source.
func (t *csvTable) columns() ([]column, error) { //nolint:unparam // the interface has an error
	out := make([]column, len(t.names))
	for i, name := range t.names {
		out[i] = column{name, t.to[i]}
	}
	return out, nil
}

// cells implements source.
func (t *csvTable) cells(i int, columns []column) ([]any, error) { //nolint:unparam // the interface has an error
	out := make([]any, len(columns))
	for k, text := range t.rows[i][:min(len(t.rows[i]), len(columns))] {
		if columns[k].feature < 0 || text != "" && !slices.Contains(t.missing, text) {
			out[k] = text
		}
	}
	return out, nil
}

// columns implements source. It refuses what other formats cannot hold.
func (t *parquetTable) columns() ([]column, error) {
	var out []column
	for i, field := range t.fields {
		if !field.Leaf() || field.Repeated() {
			return nil, fmt.Errorf("column %q is nested, which only Parquet holds: write Parquet, or leave --extra out", field.Name())
		}
		if _, err := readerOf(field); err != nil {
			return nil, err
		}
		out = append(out, column{field.Name(), t.top[i]})
	}
	return out, nil
}

// cells implements source.
func (t *parquetTable) cells(i int, columns []column) ([]any, error) {
	if t.readers == nil {
		for _, field := range t.fields {
			read, err := readerOf(field)
			if err != nil {
				return nil, err
			}
			t.readers = append(t.readers, read)
		}
	}
	out := make([]any, len(columns))
	for _, v := range t.buffer[i] {
		if c := v.Column(); c < len(out) && !v.IsNull() {
			out[c] = t.readers[c](v)
		}
	}
	return out, nil
}

// readerOf returns the function that reads the values of a column for other formats.
func readerOf(field parquet.Field) (func(parquet.Value) any, error) {
	unsigned := isUnsigned(field.Type())
	usual := func(v parquet.Value) any {
		if v.Kind() == parquet.Float {
			return v.Float()
		}
		return plain(v, unsigned)
	}
	kind := field.Type().Kind()
	refused := fmt.Errorf("column %q is of type %v, which is not written in other formats: write Parquet, or a text in its place", field.Name(), field.Type())
	if logical := field.Type().LogicalType(); logical != nil {
		switch as := logical.Value.(type) {
		case nil, *format.StringType, *format.EnumType, *format.JsonType, *format.IntType, *format.NullType:
		case *format.DateType:
			return func(v parquet.Value) any { return time.Unix(int64(v.Int32())*24*60*60, 0).UTC().Format(time.DateOnly) }, nil
		case *format.TimestampType:
			layout := "2006-01-02T15:04:05.999999999"
			if as.IsAdjustedToUTC {
				layout += "Z"
			}
			return func(v parquet.Value) any { return timeOf(v.Int64(), &as.Unit).Format(layout) }, nil
		default:
			return nil, refused
		}
	}
	if kind == parquet.FixedLenByteArray || kind == parquet.Int96 {
		return nil, refused
	}
	return usual, nil
}

// timeOf returns the time of a timestamp.
func timeOf(n int64, unit *format.TimeUnit) time.Time {
	switch unit.Value.(type) {
	case *format.MilliSeconds:
		return time.UnixMilli(n).UTC()
	case *format.MicroSeconds:
		return time.UnixMicro(n).UTC()
	}
	return time.Unix(0, n).UTC()
}

// maxColumns bounds the columns that rows of JSON make.
const maxColumns = 5000

// columns implements source: the features, and what else the rows of the last Read have.
func (t *ndjsonTable) columns() ([]column, error) {
	var out []column
	for j, name := range t.schema.Names() {
		out = append(out, column{name, j})
	}
	known := map[string]bool{}
	var beside []string
	add := func(name string) {
		if !known[name] {
			known[name] = true
			beside = append(beside, name)
		}
	}
	for i := range t.rows {
		_ = t.members(i, func(name string, inData bool, _ []byte) error {
			if _, isFeature := t.schema.Index(name); !inData || !isFeature {
				add(name)
			}
			return nil
		})
		if len(beside) > maxColumns {
			return nil, fmt.Errorf("the rows have more than %d other members: write NDJSON", maxColumns)
		}
	}
	for _, name := range beside {
		out = append(out, column{name, -1})
	}
	t.extras = beside
	return out, nil
}

// cells implements source.
func (t *ndjsonTable) cells(i int, columns []column) ([]any, error) {
	out := make([]any, len(columns))
	l := t.rows[i]
	features := len(columns) - len(t.extras)
	if len(l.row) > 0 && l.row[0] == '[' {
		if err := t.values(l.row, out[:features]); err != nil {
			return nil, err
		}
	}
	return out, t.members(i, func(name string, inData bool, value []byte) error {
		if j, isFeature := t.schema.Index(name); inData && isFeature {
			out[j] = jsonValue(value)
			return nil
		}
		k := slices.Index(t.extras, name)
		if k < 0 {
			return fmt.Errorf("a row has the member %q, which the first rows do not have, so there is no column for it: write NDJSON", name)
		}
		out[features+k] = jsonValue(value)
		return nil
	})
}

// members calls do with the members of row i, in "data" and beside it. An error of do
// ends it; a row that is no JSON has no more members.
func (t *ndjsonTable) members(i int, do func(name string, inData bool, value []byte) error) error {
	l := t.rows[i]
	if err := eachMember(l.row, func(name string, value []byte) error { return do(name, true, value) }); err != nil || len(l.others) == 0 {
		return err
	}
	others := append([]byte{'{'}, l.others[1:]...)
	return eachMember(append(others, '}'), func(name string, value []byte) error { return do(name, false, value) })
}

func eachMember(object []byte, do func(name string, value []byte) error) error {
	s := &jsonscan.Scanner{Data: object, Lenient: true}
	if !s.Take('{') {
		return nil
	}
	for first := true; ; first = false {
		more, err := s.More('}', first)
		if err != nil || !more {
			return nil //nolint:nilerr // the row has failed
		}
		s.Peek()
		key, err := s.String(nil)
		if err != nil || s.Colon() != nil {
			return nil //nolint:nilerr // the row has failed
		}
		name := string(key)
		s.Peek()
		start := s.Pos
		if s.Skip() != nil {
			return nil //nolint:nilerr // the row has failed
		}
		if err := do(name, object[start:s.Pos]); err != nil {
			return err
		}
	}
}

// values reads the values of a row in feature order.
func (t *ndjsonTable) values(array []byte, out []any) error {
	var all []json.RawMessage
	if err := json.Unmarshal(array, &all); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil // the row has failed
		}
		return fmt.Errorf("reading a row: %w", err)
	}
	for j := range all[:min(len(all), len(out))] {
		out[j] = jsonValue(all[j])
	}
	return nil
}

// jsonValue returns a value of JSON. NaN and Infinity, which are none, are nil.
func jsonValue(text []byte) any {
	if len(text) == 0 {
		return nil
	}
	switch text[0] {
	case 'n':
		return nil
	case 't':
		return true
	case 'f':
		return false
	case '"':
		var s string
		if json.Unmarshal(text, &s) != nil {
			return nil
		}
		return s
	case '{', '[':
		return json.RawMessage(text)
	}
	if !json.Valid(text) {
		return nil
	}
	return json.Number(text)
}
