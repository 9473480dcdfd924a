package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/parquet-go/parquet-go"

	"github.com/pynomaly/pynomaly-runtime/internal/table"
)

// roleToParquet is this binary making a Parquet file. A process that it starts later would
// have the memory that this takes as its peak.
const roleToParquet = "to-parquet"

func makeParquet(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: to-parquet FROM TO")
	}
	return toParquet(args[0], args[1])
}

// toParquet writes the rows of a CSV as Parquet: doubles, compressed with Snappy, as
// pandas does.
func toParquet(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("opening the rows: %w", err)
	}
	defer in.Close()
	t, err := table.Open(table.CSV, in, io.Discard, fileSchema(), table.Options{})
	if err != nil {
		return fmt.Errorf("reading the header: %w", err)
	}
	f, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("making a file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	group, names := parquet.Group{}, fileSchema().Names()
	for _, name := range names {
		group[name] = parquet.Optional(parquet.Leaf(parquet.DoubleType))
	}
	schema := parquet.NewSchema("rows", group)
	w := parquet.NewGenericWriter[any](f, schema, parquet.Compression(&parquet.Snappy))
	s := fileSchema()
	d, columns := s.NewDecoder(), schema.Columns()
	for {
		d.Reset()
		n, err := t.Read(d, 1000)
		if errors.Is(err, io.EOF) {
			if err := w.Close(); err != nil {
				return fmt.Errorf("writing %s: %w", to, err)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the rows: %w", err)
		}
		for c, path := range columns { // the library sorts them
			j, _ := s.Index(path[0])
			values := make([]parquet.Value, n)
			for i := range values {
				values[i] = parquet.DoubleValue(float64(d.Batch().Float32s()[i*len(names)+j])).Level(0, 1, c)
			}
			if _, err := w.ColumnWriters()[c].WriteRowValues(values); err != nil {
				return fmt.Errorf("writing %s: %w", to, err)
			}
		}
	}
}
