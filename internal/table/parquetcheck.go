package table

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// readable refuses files that the library (0.32) reads incorrectly. If its LZ4
// decoder must grow its buffer, the library drops the result and returns the
// buffer's old contents. Of run-length encoded truth values it reads one in eight.
func readable(file *parquet.File, in io.ReaderAt, size int64) error {
	for _, g := range file.Metadata().RowGroups {
		for _, c := range g.Columns {
			name := strings.Join(c.MetaData.PathInSchema, ".")
			if c.MetaData.Codec == format.Lz4Raw {
				return fmt.Errorf("column %q is compressed with LZ4, which is not read: write the file with snappy, zstd, gzip or brotli", name)
			}
			if c.MetaData.Type != format.Boolean {
				continue
			}
			runs, err := inRuns(io.NewSectionReader(in, c.MetaData.DataPageOffset, size-c.MetaData.DataPageOffset), c.MetaData.NumValues)
			if err != nil {
				return fmt.Errorf("the parquet file is damaged: pages of column %q: %w", name, err)
			}
			if runs {
				return fmt.Errorf("column %q has truth values in runs (RLE), which are not read: write the file with data pages of version 1", name)
			}
		}
	}
	return nil
}

// inRuns reports whether one of the pages at the beginning of in, which have n
// values together, has the encoding RLE.
func inRuns(in *io.SectionReader, n int64) (bool, error) {
	var protocol thrift.CompactProtocol
	buffered := bufio.NewReader(in)
	for n > 0 {
		header := new(format.PageHeader)
		if err := thrift.NewDecoder(protocol.NewReader(buffered)).Decode(header); err != nil {
			return false, fmt.Errorf("reading a header: %w", err)
		}
		if header.CompressedPageSize < 0 {
			return false, errors.New("a page has a negative size")
		}
		if _, err := buffered.Discard(int(header.CompressedPageSize)); err != nil {
			return false, fmt.Errorf("skipping a page: %w", err)
		}
		values := int32(0)
		encoding := format.Plain
		switch {
		case header.DataPageHeader.Valid:
			values, encoding = header.DataPageHeader.V.NumValues, header.DataPageHeader.V.Encoding
		case header.DataPageHeaderV2.Valid:
			values, encoding = header.DataPageHeaderV2.V.NumValues, header.DataPageHeaderV2.V.Encoding
		}
		if encoding == format.RLE {
			return true, nil
		}
		if values < 0 {
			return false, errors.New("a page has a negative number of values")
		}
		n -= int64(values)
	}
	return false, nil
}

// usable refuses columns that are neither truth values, numbers nor texts, and
// columns whose numbers stand for something else, such as times.
func usable(file *parquet.File, name string) error {
	for _, e := range file.Metadata().Schema {
		if e.Name != name || !e.Type.Valid {
			continue
		}
		switch e.LogicalType.Value.(type) {
		case nil, *format.StringType, *format.EnumType, *format.JsonType, *format.IntType, *format.NullType:
		default:
			return fmt.Errorf("column %q is of type %v: write it as a double, an integer or a text", name, &e.LogicalType)
		}
		if logical := file.Root().Column(name).Type().LogicalType(); logical != nil { // old files say it so
			switch logical.Value.(type) {
			case *format.DecimalType, *format.DateType, *format.TimeType, *format.TimestampType, *format.BsonType:
				return fmt.Errorf("column %q is of type %v: write it as a double, an integer or a text", name, logical)
			}
		}
		if e.Type.V == format.FixedLenByteArray || e.Type.V == format.Int96 {
			return fmt.Errorf("column %q is of type %v: write it as a double, an integer or a text", name, e.Type.V)
		}
	}
	return nil
}
