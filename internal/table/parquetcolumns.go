package table

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// answerColumns is the number of columns of an answer without an explanation.
const answerColumns = colError + 1

// parquetColumns are the values of some rows by leaf, each with its levels. The rows of a
// repeated leaf may have several.
type parquetColumns struct{ of [][]parquet.Value }

// reset drops the values and keeps the memory.
func (c *parquetColumns) reset() {
	for i, values := range c.of {
		c.of[i] = values[:0]
	}
}

// fit makes room for leaves.
func (c *parquetColumns) fit(leaves int) {
	for len(c.of) < leaves {
		c.of = append(c.of, nil)
	}
}

// add appends a value of an optional leaf, which is null unless it is given.
func (c *parquetColumns) add(leaf int, v parquet.Value, given bool) {
	if given {
		v = v.Level(0, 1, leaf)
	} else {
		v = parquet.NullValue().Level(0, 0, leaf)
	}
	c.of[leaf] = append(c.of[leaf], v)
}

// answer appends an answer, whose columns begin at a leaf, with the given number of
// columns of an explanation.
func (c *parquetColumns) answer(leaf int, a *Answer, explain int) {
	scored := a.Error == ""
	c.add(leaf+colPrediction, parquet.DoubleValue(a.Prediction), scored)
	c.add(leaf+colScore, parquet.DoubleValue(a.Score), scored)
	c.add(leaf+colAnomaly, parquet.BooleanValue(a.Anomaly != nil && *a.Anomaly), scored && a.Anomaly != nil)
	confidence := 0.0
	if a.Confidence != nil {
		confidence = *a.Confidence
	}
	c.add(leaf+colConfidence, parquet.DoubleValue(confidence), scored && a.Confidence != nil)
	c.add(leaf+colError, parquet.ByteArrayValue([]byte(a.Error)), !scored)
	parts := a.contributions()
	for i := range explain {
		v := parquet.Value{}
		if i < len(parts) {
			v = parquet.DoubleValue(parts[i])
		}
		c.add(leaf+answerColumns+i, v, i < len(parts))
	}
}

// parquetOutput writes columns.
type parquetOutput struct {
	out  *parquet.GenericWriter[any]
	rows int // of the row group that is being written
}

// rowGroup is how many rows are kept in memory before they are written.
const rowGroup = 50000

func newParquetOutput(out io.Writer, columns *ordered, more ...parquet.WriterOption) *parquetOutput {
	options := append([]parquet.WriterOption{parquet.NewSchema("predictions", columns), parquet.Compression(&parquet.Zstd)}, more...)
	return &parquetOutput{out: parquet.NewGenericWriter[any](out, options...)}
}

// write writes the given number of rows.
func (o *parquetOutput) write(columns parquetColumns, rows int) error {
	for c, to := range o.out.ColumnWriters() {
		values := columns.of[c]
		part := len(values)
		if len(values) == rows { // pages end between rows, and should not become too large
			part = 1000
		}
		for len(values) > 0 {
			n := min(part, len(values))
			if _, err := to.WriteRowValues(values[:n]); err != nil {
				return fmt.Errorf("writing a row: %w", err)
			}
			values = values[n:]
		}
	}
	if o.rows += rows; o.rows < rowGroup {
		return nil
	}
	o.rows = 0
	if err := o.out.Flush(); err != nil {
		return fmt.Errorf("writing rows: %w", err)
	}
	return nil
}

func (o *parquetOutput) close() error {
	if err := o.out.Close(); err != nil {
		return fmt.Errorf("writing the parquet file: %w", err)
	}
	return nil
}

// parquetInput reads the columns of a file, a few rows at a time.
type parquetInput struct {
	groups []parquet.RowGroup // that have not been begun
	left   int64              // rows of the group that is being read
	leaves []*leafReader      // of that group
}

// next appends the values of the next rows of one row group, up to most, and returns how
// many rows these are, 0 at the end, and how many bytes of texts they have.
func (in *parquetInput) next(to parquetColumns, most int) (n, texts int, err error) {
	for in.left == 0 {
		if err := in.close(); err != nil {
			return 0, 0, err
		}
		if len(in.groups) == 0 {
			return 0, 0, nil
		}
		group := in.groups[0]
		in.groups, in.left = in.groups[1:], group.NumRows()
		for _, c := range group.ColumnChunks() {
			kind := c.Type().Kind()
			in.leaves = append(in.leaves, &leafReader{
				in: parquet.NewColumnChunkValueReader(c), clone: kind == parquet.ByteArray || kind == parquet.FixedLenByteArray,
			})
		}
	}
	n = int(min(int64(most), in.left))
	for c, leaf := range in.leaves {
		before := leaf.texts
		values, err := leaf.read(to.of[c], n)
		if err != nil {
			return 0, 0, fmt.Errorf("reading the parquet file: %w", err)
		}
		to.of[c] = values
		texts += leaf.texts - before
	}
	in.left -= int64(n)
	return n, texts, nil
}

// close ends the reading of a row group.
func (in *parquetInput) close() error {
	var err error
	for _, leaf := range in.leaves {
		err = errors.Join(err, leaf.in.Close())
	}
	in.leaves = nil
	if err != nil {
		return fmt.Errorf("reading the parquet file: %w", err)
	}
	return nil
}

// leafReader reads the values of a leaf in one row group.
type leafReader struct {
	in    parquet.ColumnChunkValueReader
	clone bool            // the values are in memory of the library
	texts int             // bytes of the values that were read, if they are cloned
	ahead []parquet.Value // values that were read and belong to the next rows
}

// read appends the values of n rows to to.
func (r *leafReader) read(to []parquet.Value, n int) ([]parquet.Value, error) {
	rows, from := 0, len(to)
	to = append(to, r.ahead...)
	r.ahead = r.ahead[:0]
	for {
		for ; from < len(to); from++ {
			if to[from].RepetitionLevel() == 0 {
				rows++
			}
			if rows > n {
				r.ahead = append(r.ahead, to[from:]...)
				return to[:from], nil
			}
		}
		most := max(n-rows, 1)
		to = slices.Grow(to, most)
		got, err := r.in.ReadValues(to[len(to) : len(to)+most])
		to = to[:len(to)+got]
		if r.clone {
			for i := len(to) - got; i < len(to); i++ {
				to[i] = to[i].Clone()
				r.texts += len(to[i].ByteArray())
			}
		}
		switch {
		case errors.Is(err, io.EOF) && got == 0 && rows == n:
			return to, nil
		case errors.Is(err, io.EOF) && got == 0:
			return nil, fmt.Errorf("the file is damaged: a column of a row group has %d rows too few", n-rows)
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err //nolint:wrapcheck // the caller says what was being read
		}
	}
}
