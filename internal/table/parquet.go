package table

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/encoding"
	"github.com/parquet-go/parquet-go/format"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
)

type parquetTable struct {
	in       parquetInput
	out      *parquetOutput
	unsigned []bool // leaves of unsigned numbers
	to       []int  // from the leaves of the input to features; -1: copied
	fields   []parquet.Field
	top      []int                     // from the columns of the input to features; -1: copied
	readers  []func(parquet.Value) any // of the columns, if they are converted
	explain  int                       // columns of an explanation
	features int                       // of the model
	given    int                       // of them, those that the input has
}

// parquetChunk is the values of some rows, and of their answers.
type parquetChunk struct {
	*parquetTable
	rows    int
	texts   int // bytes
	values  parquetColumns
	numbers [][]float64 // of the features, if they are read at once
}

// newParquet reads files whose features are columns of truth values, numbers and
// texts, which may be null. It copies other columns, whatever their type, in their
// order, with the metadata of the file.
func newParquet(f io.ReaderAt, size int64, out io.Writer, s *rows.Schema, o Options) (_ *parquetTable, err error) {
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
	t := &parquetTable{features: len(s.Names())}
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
			t.given++
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
	t.in.groups = file.RowGroups()
	var metadata []parquet.WriterOption
	for _, kv := range file.Metadata().KeyValueMetadata {
		if kv.Key != "ARROW:schema" { // it describes the columns of the input alone
			metadata = append(metadata, parquet.KeyValueMetadata(kv.Key, kv.Value))
		}
	}
	t.out = newParquetOutput(out, &group, metadata...)
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
func (f fresh) Compression() compress.Codec {
	if f.Leaf() {
		return compression(f.Type())
	}
	return nil
}

// compression returns the codec of a type; nil is the writer's. Zstandard takes as long
// for numbers with fractions as a forest for their scores, and hardly makes them smaller.
func compression(t parquet.Type) compress.Codec {
	if kind := t.Kind(); kind == parquet.Float || kind == parquet.Double {
		return &quickSnappy{}
	}
	return nil
}

// leaf returns a column of a type.
func leaf(t parquet.Type) parquet.Node {
	if codec := compression(t); codec != nil {
		return parquet.Compressed(parquet.Leaf(t), codec)
	}
	return parquet.Leaf(t)
}

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

// NewChunk implements rowFormat.
func (t *parquetTable) NewChunk() Chunk {
	c := &parquetChunk{parquetTable: t, numbers: make([][]float64, t.features)}
	c.values.fit(len(t.to) + answerColumns + t.explain)
	return c
}

// Cut implements rowFormat.
func (t *parquetTable) Cut(to Chunk, most int) (err error) {
	defer rescue(&err)
	c, _ := to.(*parquetChunk)
	c.values.reset()
	c.rows, c.texts = 0, 0
	for c.rows < most {
		n, texts, err := t.in.next(c.values, most-c.rows)
		if err != nil {
			return err
		}
		c.texts += texts
		if n == 0 {
			break
		}
		c.rows += n
	}
	if c.rows == 0 {
		return io.EOF
	}
	return nil
}

// Size implements Chunk.
func (c *parquetChunk) Size() int {
	const value = 24
	return value*c.rows*len(c.to) + c.texts
}

// Decode implements Chunk.
func (c *parquetChunk) Decode(d *rows.Decoder) (_ int, err error) {
	defer rescue(&err)
	if c.allNumbers() && d.Numbers(c.rows, c.numbers) {
		return c.rows, nil
	}
	for i := range c.rows {
		d.Begin()
		for leaf, j := range c.to {
			if j < 0 {
				continue
			}
			switch v := c.values.of[leaf][i]; v.Kind() {
			case parquet.Float:
				d.Float(j, float64(v.Float()))
			case parquet.Double:
				d.Float(j, v.Double())
			default:
				d.Value(j, plain(v, c.unsigned[leaf]))
			}
		}
		d.End()
	}
	return c.rows, nil
}

// allNumbers reads the columns of features into c.numbers. It returns false unless all are
// fractions and none is null.
func (c *parquetChunk) allNumbers() bool {
	for leaf, j := range c.to {
		if j < 0 {
			continue
		}
		values := c.numbers[j][:0]
		for i := range c.values.of[leaf] {
			switch v := &c.values.of[leaf][i]; v.Kind() {
			case parquet.Double:
				values = append(values, v.Double())
			case parquet.Float:
				values = append(values, float64(v.Float()))
			default:
				return false
			}
		}
		c.numbers[j] = values
	}
	return len(c.numbers) == c.given
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

// Write implements Chunk.
func (c *parquetChunk) Write(_ int, a Answer) error {
	c.values.answer(len(c.to), &a, c.explain)
	return nil
}

// Put implements rowFormat.
func (t *parquetTable) Put(from Chunk) (err error) {
	defer rescue(&err)
	c, _ := from.(*parquetChunk)
	return t.out.write(c.values, c.rows)
}

func (t *parquetTable) end() (err error) {
	defer rescue(&err)
	return t.out.close()
}
