package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
)

// rowGroup is how many rows are kept in memory before they are written.
const rowGroup = 50000

type parquetTable struct {
	in       *parquet.GenericReader[any] // nil: there are no rows
	out      *parquet.GenericWriter[any]
	names    []string       // of the input's columns
	unsigned []bool         // columns of unsigned numbers
	to       []int          // from input column to feature; -1: copied
	outAt    map[string]int // output columns by name
	outOpt   []bool         // output columns that may be null
	buffer   []parquet.Row
	answers  [1]parquet.Row
}

// newParquet reads flat files: columns of truth values, numbers and texts, which may
// be null.
func newParquet(f io.ReaderAt, size int64, out io.Writer, s *rows.Schema, o Options) (_ Table, err error) {
	defer rescue(&err)
	if err := checkFooter(f, size); err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(f, size)
	if err != nil {
		return nil, fmt.Errorf("opening the parquet file: %w", err)
	}
	if err := readable(file, f, size); err != nil {
		return nil, err
	}
	t := &parquetTable{outAt: map[string]int{}}
	group := parquet.Group{}
	for _, field := range file.Schema().Fields() {
		if !field.Leaf() || field.Repeated() {
			return nil, fmt.Errorf("column %q is nested: only flat files are read", field.Name())
		}
		if _, isFeature := s.Index(field.Name()); isFeature {
			if err := usable(file, field.Name()); err != nil {
				return nil, err
			}
		}
		t.unsigned = append(t.unsigned, isUnsigned(field.Type()))
		t.names = append(t.names, field.Name())
		group[field.Name()] = leaf(field)
	}
	if t.to, err = columns(t.names, s, o); err != nil {
		return nil, err
	}
	for _, name := range added {
		if _, taken := group[name]; taken {
			return nil, fmt.Errorf("the file has a column %q already: rename it", name)
		}
		switch name {
		case colAnomaly:
			group[name] = parquet.Optional(parquet.Leaf(parquet.BooleanType))
		case colError:
			group[name] = parquet.Optional(parquet.String())
		default:
			group[name] = parquet.Optional(parquet.Leaf(parquet.DoubleType))
		}
	}
	schema := parquet.NewSchema("predictions", group)
	for i, field := range schema.Fields() {
		t.outAt[field.Name()] = i
		t.outOpt = append(t.outOpt, field.Optional())
	}
	if file.NumRows() > 0 { // the library cannot read from a file without row groups
		t.in = parquet.NewGenericReader[any](file)
	}
	t.out = parquet.NewGenericWriter[any](out, schema, parquet.MaxRowsPerRowGroup(rowGroup))
	return t, nil
}

// checkFooter checks the length of the footer, because the library would allocate
// any length.
func checkFooter(f io.ReaderAt, size int64) error {
	const magic = 4
	var end [4 + magic]byte
	if size < magic+int64(len(end)) {
		return fmt.Errorf("the file has %d bytes and is not a parquet file", size)
	}
	if _, err := f.ReadAt(end[:], size-int64(len(end))); err != nil {
		return fmt.Errorf("reading the parquet footer: %w", err)
	}
	if n := int64(binary.LittleEndian.Uint32(end[:4])); n > size-magic-int64(len(end)) {
		return fmt.Errorf("the parquet file is damaged: its footer has %d bytes, the file %d", n, size)
	}
	return nil
}

func isUnsigned(t parquet.Type) bool {
	logical := t.LogicalType()
	if logical == nil {
		return false
	}
	n, ok := logical.Value.(*format.IntType)
	return ok && !n.IsSigned
}

// leaf returns a node with the column's type that may be null if the column may be.
func leaf(f parquet.Field) parquet.Node {
	n := parquet.Leaf(f.Type())
	if f.Optional() {
		return parquet.Optional(n)
	}
	return n
}

// rescue turns a panic of the library on a damaged file into an error.
func rescue(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the parquet file is damaged: %v", p)
	}
}

// Read implements Table.
func (t *parquetTable) Read(d *rows.Decoder, most int) (n int, err error) {
	defer rescue(&err)
	if t.in == nil {
		return 0, io.EOF
	}
	for len(t.buffer) < most {
		t.buffer = append(t.buffer, nil)
	}
	n, err = t.in.ReadRows(t.buffer[:most])
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("reading the parquet file: %w", err)
	}
	if n == 0 {
		return 0, io.EOF
	}
	for i := range n {
		t.buffer[i] = t.buffer[i].Clone()
		d.Begin()
		for _, v := range t.buffer[i] {
			if c := v.Column(); c < len(t.to) && t.to[c] >= 0 {
				d.Value(t.to[c], plain(v, t.unsigned[c]))
			}
		}
		d.End()
	}
	return n, nil
}

// plain converts a value for rows.Decoder.
func plain(v parquet.Value, unsigned bool) any {
	switch {
	case v.IsNull():
		return nil
	case unsigned && v.Kind() == parquet.Int32:
		return int64(v.Uint32())
	case unsigned && v.Kind() == parquet.Int64:
		return v.Uint64()
	case v.Kind() == parquet.Boolean:
		return v.Boolean()
	case v.Kind() == parquet.Int32:
		return int64(v.Int32())
	case v.Kind() == parquet.Int64:
		return v.Int64()
	case v.Kind() == parquet.Float:
		return float64(v.Float())
	case v.Kind() == parquet.Double:
		return v.Double()
	case v.Kind() == parquet.ByteArray:
		return string(v.ByteArray())
	}
	return struct{}{}
}

// Write implements Table.
func (t *parquetTable) Write(i int, a Answer) (err error) {
	defer rescue(&err)
	row := make(parquet.Row, len(t.outAt))
	put := func(name string, v parquet.Value) {
		at := t.outAt[name]
		level := 0
		if t.outOpt[at] && !v.IsNull() {
			level = 1
		}
		row[at] = v.Level(0, level, at)
	}
	for _, v := range t.buffer[i] {
		put(t.names[v.Column()], v)
	}
	for _, name := range added {
		put(name, parquet.NullValue())
	}
	if a.Error != "" {
		put(colError, parquet.ByteArrayValue([]byte(a.Error)))
	} else {
		put(colPrediction, parquet.DoubleValue(a.Prediction))
		put(colScore, parquet.DoubleValue(a.Score))
		if a.Anomaly != nil {
			put(colAnomaly, parquet.BooleanValue(*a.Anomaly))
		}
		if a.Confidence != nil {
			put(colConfidence, parquet.DoubleValue(*a.Confidence))
		}
	}
	t.answers[0] = row
	if _, err := t.out.WriteRows(t.answers[:]); err != nil {
		return fmt.Errorf("writing a row: %w", err)
	}
	return nil
}

// Close implements Table.
func (t *parquetTable) Close() (err error) {
	defer rescue(&err)
	if err := t.out.Close(); err != nil {
		return fmt.Errorf("writing the parquet file: %w", err)
	}
	return nil
}
