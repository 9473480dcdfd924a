package rows_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"os"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// BenchmarkJSON decodes rows of 30 features, as objects and as arrays.
func BenchmarkJSON(b *testing.B) {
	data, err := os.ReadFile(testkit.Testdata("bench", "rows.csv"))
	if err != nil {
		b.Fatal(err)
	}
	table, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		b.Fatal(err)
	}
	m := manifest.Defaults()
	var named, arrays bytes.Buffer
	for i, row := range table[1:] {
		for j, v := range row {
			if i == 0 {
				m.Features = append(m.Features, manifest.Feature{Feature: sdk.Feature{Name: table[0][j], DType: sdk.Float32}})
			}
			fmt.Fprintf(&named, "%s%q:%s", []string{",", "{"}[btoi(j == 0)], table[0][j], v)
			fmt.Fprintf(&arrays, "%s%s", []string{",", "["}[btoi(j == 0)], v)
		}
		named.WriteString("}\n")
		arrays.WriteString("]\n")
	}
	schema := rows.NewSchema(m)
	for name, text := range map[string][]byte{"named": named.Bytes(), "arrays": arrays.Bytes()} {
		b.Run(name, func(b *testing.B) {
			d := schema.NewDecoder()
			n := len(table) - 1
			for b.Loop() {
				d.Reset()
				s := jsonscan.Scanner{Data: text}
				for range n {
					if err := d.JSONRow(&s); err != nil {
						b.Fatal(err)
					}
				}
				if len(d.Failed()) > 0 {
					b.Fatal(d.Failed()[0])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/row")
		})
	}
}

func btoi(v bool) int {
	if v {
		return 1
	}
	return 0
}

// BenchmarkText decodes fields of a table.
func BenchmarkText(b *testing.B) {
	data, err := os.ReadFile(testkit.Testdata("bench", "rows.csv"))
	if err != nil {
		b.Fatal(err)
	}
	table, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		b.Fatal(err)
	}
	m := manifest.Defaults()
	for _, name := range table[0] {
		m.Features = append(m.Features, manifest.Feature{Feature: sdk.Feature{Name: name, DType: sdk.Float32}})
	}
	d := rows.NewSchema(m).NewDecoder()
	for b.Loop() {
		d.Reset()
		for _, row := range table[1:] {
			d.Begin()
			for j, v := range row {
				d.Text(j, v)
			}
			d.End()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*(len(table)-1)), "ns/row")
}
