package table_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"

	"github.com/pynomaly/pynomaly-runtime/internal/table"
)

// throughParquet writes values to a file and reads them back.
func throughParquet(t *testing.T, values []float64, codec compress.Codec) ([]float64, error) {
	t.Helper()
	type record struct {
		A float64 `parquet:"a"`
	}
	all := make([]record, len(values))
	for i, v := range values {
		all[i].A = v
	}
	file := filepath.Join(t.TempDir(), "t.parquet")
	if err := parquet.WriteFile(file, all, parquet.Compression(codec)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := schema(t, "{name: a, dtype: float64}")
	in, err := table.Open(table.Parquet, f, io.Discard, s, table.Options{})
	if err != nil {
		return nil, err
	}
	d := s.NewDecoder()
	if _, err := in.Read(d, len(values)); err != nil {
		t.Fatal(err)
	}
	return d.Batch().Float64s(), nil
}

// TestParquetCodecs checks that values come back unchanged for every compression,
// length and compressibility of a file, or that the file is refused.
func TestParquetCodecs(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	kinds := map[string]func(int) float64{
		"random": func(int) float64 { return rng.NormFloat64() },
		"equal":  func(int) float64 { return 0.1 },
		"rising": func(i int) float64 { return float64(i) },
	}
	for name, codec := range map[string]compress.Codec{
		"none": &parquet.Uncompressed, "snappy": &parquet.Snappy, "gzip": &parquet.Gzip, "brotli": &parquet.Brotli, "zstd": &parquet.Zstd, "lz4": &parquet.Lz4Raw,
	} {
		for _, n := range []int{1, 150, 400, 1000, 30_000} {
			for kind, value := range kinds {
				t.Run(fmt.Sprintf("%s/%d %s", name, n, kind), func(t *testing.T) {
					values := make([]float64, n)
					for i := range values {
						values[i] = value(i)
					}
					got, err := throughParquet(t, values, codec)
					switch {
					case name == "lz4" && (err == nil || !strings.Contains(err.Error(), "write the file with snappy")):
						t.Errorf("%v; want to be told what to write", err)
					case name != "lz4" && (err != nil || !slices.Equal(got, values)):
						t.Errorf("%v; other values came back", err)
					}
				})
			}
		}
	}
}
