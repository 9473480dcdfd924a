package table

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// column is a column of a table that is written in another format than it is read in.
type column struct {
	name    string
	feature int // -1: none
}

// source is a rowFormat whose rows can be written in another one.
type source interface {
	rowFormat
	// columns returns the columns of the rows, in the order in which they are written.
	// Those of JSON are the ones of the first chunk; c is nil if it is not known yet, or
	// if there is none.
	columns(c Chunk) ([]column, error)
	// cells appends the values of row i of a chunk by column: nil, bool, int64, uint64,
	// float32, float64, string, json.Number or json.RawMessage. A value that is not
	// there is nil.
	cells(c Chunk, i int, columns []column, to []any) ([]any, error)
}

// sink writes rows in one format.
type sink interface {
	// begin says what the columns and the added columns are. It is called once, before
	// the first row or at the end of a table without rows.
	begin(columns []column, extra added) error
	// encode adds the values of a row to encoded rows. Those of a feature have its type,
	// if the row's value could be read. Several goroutines may call it with rows of their
	// own.
	encode(to *encoded, values []any, a *Answer)
	put(rows *encoded) error
	close() error
}

// encoded is some rows as a sink puts them.
type encoded struct {
	cells   *rows.Decoder // reads single values
	rows    int
	text    []byte
	columns parquetColumns
}

// converter reads one format and writes another one.
type converter struct {
	from    source
	to      sink
	schema  *rows.Schema
	options Options
	names   []column
	begun   bool
}

// convertChunk is a chunk of the source, and its rows as the sink writes them.
type convertChunk struct {
	*converter
	in      Chunk
	decoder *rows.Decoder
	good    []int // for each row, the index in the decoder's batch; -1: it failed
	values  []any
	encoded encoded
}

// NewChunk implements rowFormat.
func (c *converter) NewChunk() Chunk {
	chunk := &convertChunk{converter: c, in: c.from.NewChunk(), encoded: encoded{cells: c.schema.NewDecoder()}}
	if t, ok := c.from.(*csvTable); ok && t.missing != nil {
		chunk.encoded.cells.Missing(t.missing)
	}
	return chunk
}

// Cut implements rowFormat.
func (c *converter) Cut(to Chunk, most int) error {
	chunk, _ := to.(*convertChunk)
	chunk.encoded.rows, chunk.encoded.text = 0, chunk.encoded.text[:0]
	chunk.encoded.columns.reset()
	if err := c.from.Cut(chunk.in, most); err != nil {
		return err //nolint:wrapcheck // the source says what it was reading
	}
	return c.begin(chunk.in)
}

// begin tells the sink the columns, once. first is nil if the table has no rows.
func (c *converter) begin(first Chunk) error {
	if c.begun {
		return nil
	}
	c.begun = true
	var err error
	if c.names, err = c.from.columns(first); err != nil {
		return err
	}
	var taken []string
	for i := range c.names { // JSON may have a name beside "data" and in it
		c.names[i].name = free(c.names[i].name, taken)
		taken = append(taken, c.names[i].name)
	}
	return c.to.begin(c.names, addedNames(c.options, taken, c.schema))
}

// Size implements Chunk.
func (c *convertChunk) Size() int { return c.in.Size() }

// Decode implements Chunk.
func (c *convertChunk) Decode(d *rows.Decoder) (int, error) {
	n, err := c.in.Decode(d)
	if err != nil {
		return n, err //nolint:wrapcheck // the source says what it was reading
	}
	c.decoder, c.good = d, c.good[:0]
	failed, next := d.Failed(), 0
	for i := range n {
		if len(failed) > 0 && failed[0].Row == i {
			c.good, failed = append(c.good, -1), failed[1:]
			continue
		}
		c.good = append(c.good, next)
		next++
	}
	return n, nil
}

// Write implements Chunk.
func (c *convertChunk) Write(i int, a Answer) (err error) {
	if c.values, err = c.from.cells(c.in, i, c.names, c.values[:0]); err != nil {
		return err //nolint:wrapcheck // the source says what it was reading
	}
	for k, v := range c.values {
		if j := c.names[k].feature; j >= 0 {
			c.values[k] = c.typed(v, j, c.good[i])
		}
	}
	c.to.encode(&c.encoded, c.values, &a)
	c.encoded.rows++
	return nil
}

// Put implements rowFormat.
func (c *converter) Put(from Chunk) error {
	chunk, _ := from.(*convertChunk)
	return c.to.put(&chunk.encoded)
}

func (c *converter) end() error {
	if err := c.begin(nil); err != nil { // there are no rows
		return err
	}
	return c.to.close()
}

// typed returns the value of a feature in its type. good is the row's index in the
// batch, or -1 if the row failed: then a value that cannot be read stays a text.
func (c *convertChunk) typed(v any, feature, good int) any {
	dtype := c.schema.Features()[feature].DType
	text, isText := v.(string)
	if n, ok := v.(json.Number); ok && dtype != sdk.String {
		text, isText = string(n), true
	}
	if !isText || dtype == sdk.String {
		return v
	}
	read, ok := c.encoded.cells.Cell(feature, text)
	switch {
	case ok && good >= 0:
		return c.decoder.Batch().Value(good, feature)
	case ok:
		return read
	case good >= 0:
		return nil // the text means that the value is missing
	}
	return text
}

// newConverter returns a table that writes the rows of in to out in another format. in
// must have been opened with an output that discards.
func newConverter(in source, format string, out io.Writer, s *rows.Schema, o Options) (*converter, error) {
	c := &converter{from: in, schema: s, options: o}
	if _, later := in.(*ndjsonTable); !later { // refuse what cannot be written before a row is scored
		if _, err := in.columns(nil); err != nil {
			return nil, err
		}
	}
	switch format {
	case CSV:
		c.to = newCSVSink(out, o.Delimiter)
	case NDJSON, JSON:
		c.to = newJSONSink(out, format == JSON, s)
	case Parquet:
		c.to = newParquetSink(out, s)
	default:
		return nil, fmt.Errorf("%q: %w", format, ErrFormat)
	}
	return c, nil
}

// plainText returns a value as a table of texts has it.
func plainText(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return x
	case json.Number:
		return string(x)
	case json.RawMessage:
		return string(x)
	case bool:
		return strconv.FormatBool(x)
	case int64:
		return strconv.FormatInt(x, 10)
	case uint64:
		return strconv.FormatUint(x, 10)
	case float32:
		return strconv.FormatFloat(float64(x), 'g', -1, 32)
	case float64:
		return string(appendNumber(nil, x))
	}
	return fmt.Sprint(v)
}
