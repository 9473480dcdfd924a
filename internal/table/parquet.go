package table

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/encoding"
	"github.com/parquet-go/parquet-go/format"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
)

// rowGroup is how many rows are kept in memory before they are written.
const rowGroup = 50000

type parquetTable struct {
	in       *parquet.GenericReader[any] // nil: there are no rows
	out      *parquet.GenericWriter[any]
	unsigned []bool // leaves of unsigned numbers
	to       []int  // from the leaves of the input to features; -1: copied
	fields   []parquet.Field
	top      []int                     // from the columns of the input to features; -1: copied
	readers  []func(parquet.Value) any // of the columns, if they are converted
	buffer   []parquet.Row
	answers  [1]parquet.Row
	explain  int // columns of an explanation
}

// newParquet reads files whose features are columns of truth values, numbers and
// texts, which may be null. It copies other columns, whatever their type, in their
// order, with the metadata of the file.
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
	t := &parquetTable{}
	var names []string
	for _, field := range file.Schema().Fields() {
		names = append(names, field.Name())
	}
	to, err := columns(names, s, o)
	if err != nil {
		return nil, err
	}
	t.fields, t.top = file.Schema().Fields(), to
	group := ordered{Group: parquet.Group{}}
	for i, field := range file.Schema().Fields() {
		if to[i] >= 0 {
			if !field.Leaf() || field.Repeated() {
				return nil, fmt.Errorf("column %q is nested, which no feature can be", field.Name())
			}
			if err := usable(file, field.Name()); err != nil {
				return nil, err
			}
		}
		t.leaves(field, to[i])
		group.add(field.Name(), fresh{field})
	}
	extra := addedNames(o, names, s)
	t.explain = len(extra.contributions)
	addAnswers(&group, extra.columns())
	if file.NumRows() > 0 { // the library cannot read from a file without row groups
		t.in = parquet.NewGenericReader[any](file)
	}
	options := []parquet.WriterOption{parquet.NewSchema("predictions", group), parquet.MaxRowsPerRowGroup(rowGroup), parquet.Compression(&parquet.Zstd)}
	for _, kv := range file.Metadata().KeyValueMetadata {
		if kv.Key != "ARROW:schema" { // it describes the columns of the input alone
			options = append(options, parquet.KeyValueMetadata(kv.Key, kv.Value))
		}
	}
	t.out = parquet.NewGenericWriter[any](out, options...)
	return t, nil
}

// leaves notes the leaves of a column and the feature that they are.
func (t *parquetTable) leaves(n parquet.Node, to int) {
	if n.Leaf() {
		t.to = append(t.to, to)
		t.unsigned = append(t.unsigned, isUnsigned(n.Type()))
		return
	}
	for _, field := range n.Fields() {
		t.leaves(field, to)
	}
}

// fresh is a column of the input that is written in the writer's own encoding and
// compression: the library does not write all that it reads.
type fresh struct{ parquet.Field }

// Encoding implements parquet.Node.
func (fresh) Encoding() encoding.Encoding { return nil }

// Compression implements parquet.Node.
func (fresh) Compression() compress.Codec { return nil }

// Fields implements parquet.Node.
func (f fresh) Fields() []parquet.Field {
	fields := slices.Clone(f.Field.Fields())
	for i := range fields {
		fields[i] = fresh{fields[i]}
	}
	return fields
}

// ordered is a group that keeps the order of its columns.
type ordered struct {
	parquet.Group
	names []string
}

func (o *ordered) add(name string, n parquet.Node) {
	o.Group[name] = n
	o.names = append(o.names, name)
}

// Fields implements parquet.Node.
func (o ordered) Fields() []parquet.Field {
	fields := make([]parquet.Field, len(o.names))
	for _, f := range o.Group.Fields() {
		fields[slices.Index(o.names, f.Name())] = f
	}
	return fields
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
	row := append(make(parquet.Row, 0, len(t.buffer[i])+colError+1), t.buffer[i]...)
	t.answers[0] = appendAnswer(row, len(t.to), a, t.explain)
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
