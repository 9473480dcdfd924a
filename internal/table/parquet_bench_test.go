package table

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// BenchmarkParquet reads rows of numbers, and writes them with answers.
func BenchmarkParquet(b *testing.B) {
	const columns, n = 21, 100_000
	m := manifest.Defaults()
	group := parquet.Group{}
	for j := range columns {
		name := fmt.Sprintf("f%02d", j) // the library sorts them
		m.Features = append(m.Features, manifest.Feature{Feature: sdk.Feature{Name: name, DType: sdk.Float32}})
		group[name] = parquet.Optional(parquet.Leaf(parquet.DoubleType))
	}
	name := filepath.Join(b.TempDir(), "rows.parquet")
	var text bytes.Buffer
	w := parquet.NewGenericWriter[any](&text, parquet.NewSchema("rows", group), parquet.Compression(&parquet.Snappy))
	random := rand.New(rand.NewPCG(1, 2))
	for c, to := range w.ColumnWriters() {
		values := make([]parquet.Value, n)
		for i := range values {
			values[i] = parquet.DoubleValue(random.NormFloat64()).Level(0, 1, c)
		}
		if _, err := to.WriteRowValues(values); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), os.WriteFile(name, text.Bytes(), 0o600)); err != nil {
		b.Fatal(err)
	}
	s := rows.NewSchema(m)
	d := s.NewDecoder()
	for b.Loop() {
		in, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		t, err := Open(Parquet, in, io.Discard, s, Options{})
		if err != nil {
			b.Fatal(err)
		}
		total := 0
		for {
			d.Reset()
			got, err := t.Read(d, 1000)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			for i := range got {
				score, yes := random.Float64(), i%2 == 0
				if err := t.Write(i, Answer{Prediction: score, Score: score, Anomaly: &yes, Confidence: &score}); err != nil {
					b.Fatal(err)
				}
			}
			total += got
		}
		if err := errors.Join(t.Close(), in.Close()); err != nil || total != n {
			b.Fatalf("%d rows, %v", total, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/row")
}
