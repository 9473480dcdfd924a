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
func (t *csvTable) columns(Chunk) ([]column, error) {
	out := make([]column, len(t.names))
	for i, name := range t.names {
		out[i] = column{name, t.to[i]}
	}
	return out, nil
}

// cells implements source.
func (t *csvTable) cells(of Chunk, i int, columns []column, to []any) ([]any, error) {
	c, _ := of.(*csvChunk)
	all := c.fields(&c.records[i])
	for k := range columns {
		var v any
		if k < len(all) && (columns[k].feature < 0 || all[k] != "" && !slices.Contains(t.missing, all[k])) {
			v = all[k]
		}
		to = append(to, v)
	}
	return to, nil
}

// columns implements source. It refuses what other formats cannot hold.
func (t *parquetTable) columns(Chunk) ([]column, error) {
	var out []column
	t.readers = t.readers[:0]
	for i, field := range t.fields {
		if !field.Leaf() || field.Repeated() {
			return nil, fmt.Errorf("column %q is nested, which only Parquet holds: write Parquet, or leave --extra out", field.Name())
		}
		read, err := readerOf(field)
		if err != nil {
			return nil, err
		}
		t.readers = append(t.readers, read)
		out = append(out, column{field.Name(), t.top[i]})
	}
	return out, nil
}

// cells implements source. Each column is a leaf.
func (t *parquetTable) cells(of Chunk, i int, columns []column, to []any) ([]any, error) {
	c, _ := of.(*parquetChunk)
	for k := range columns {
		var read any
		if v := c.values.of[k][i]; !v.IsNull() {
			read = t.readers[k](v)
		}
		to = append(to, read)
	}
	return to, nil
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

// columns implements source: the features, and what else the rows of the chunk have.
func (t *ndjsonTable) columns(of Chunk) ([]column, error) {
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
	c, _ := of.(*jsonChunk)
	if c == nil {
		c = &jsonChunk{ndjsonTable: t}
	}
	c.read()
	for i := range c.rows {
		_ = c.members(i, func(name string, inData bool, _ []byte) error {
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
func (t *ndjsonTable) cells(of Chunk, i int, columns []column, to []any) ([]any, error) {
	c, _ := of.(*jsonChunk)
	for range columns {
		to = append(to, nil)
	}
	l := &c.rows[i]
	features := len(columns) - len(t.extras)
	if len(l.row) > 0 && l.row[0] == '[' {
		if err := values(l.row, to[:features]); err != nil {
			return nil, err
		}
	}
	return to, c.members(i, func(name string, inData bool, value []byte) error {
		if j, isFeature := t.schema.Index(name); inData && isFeature {
			to[j] = jsonValue(value)
			return nil
		}
		k := slices.Index(t.extras, name)
		if k < 0 {
			return fmt.Errorf("a row has the member %q, which the first rows do not have, so there is no column for it: write NDJSON", name)
		}
		to[features+k] = jsonValue(value)
		return nil
	})
}

// members calls do with the members of row i, in "data" and beside it. An error of do
// ends it; a row that is no JSON has no more members.
func (c *jsonChunk) members(i int, do func(name string, inData bool, value []byte) error) error {
	l := &c.rows[i]
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
func values(array []byte, out []any) error {
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
