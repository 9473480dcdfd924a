package table_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/pynomaly/pynomaly-runtime/internal/table"
)

// TestExtraMembers checks that NDJSON keeps unknown features and the members beside
// "data" if it is told to, and that an answer's name that is taken gets a number.
func TestExtraMembers(t *testing.T) {
	s := schema(t, "{name: x, dtype: float32}")
	in := `{"data":{"id":"a","x":1},"score":7,"note":{"a":[1]}}` + "\n" + `{"x":2,"id":9}` + "\n" + `{"bad":NaN,"data":[true]}` + "\n"
	got, err := pass(table.NDJSON, strings.NewReader(in), s, table.Options{Extra: true}, 2)
	want := `{"data":{"id":"a","x":1},"score":7,"note":{"a":[1]},"prediction":0.5,"score_2":0,"is_anomaly":true,"confidence":0.25}` + "\n" +
		`{"data":{"x":2,"id":9},"prediction":0.5,"score":1}` + "\n" +
		`{"data":[true],"prediction":0.5,"score":2,"is_anomaly":true,"confidence":0.25}` + "\n"
	if err != nil || got != want {
		t.Errorf("%v; got\n%s", err, got)
	}
	if got, _ := pass(table.NDJSON, strings.NewReader(in), s, table.Options{Prefix: "p_"}, 2); strings.Count(got, `"error"`) != 0 || strings.Count(got, `"p_error":" id`) != 0 || strings.Count(got, `"p_error"`) != 2 {
		t.Errorf("with a prefix and without extra members:\n%s", got)
	}
}

// TestDelimiters checks that the output of CSV has the delimiter of the input.
func TestDelimiters(t *testing.T) {
	s := schema(t, "{name: x, dtype: float32}, {name: n, dtype: int64}")
	for in, want := range map[string]string{
		"n;x;note\n1;.5;a,b\n": "n;x;note;prediction;score;is_anomaly;confidence;error\n1;.5;a,b;0.5;0;true;0.25;\n",
		"x\tn\n1\t2\n":         "x\tn\tprediction\tscore\tis_anomaly\tconfidence\terror\n1\t2\t0.5\t0\ttrue\t0.25\t\n",
	} {
		if got, err := pass(table.CSV, strings.NewReader(in), s, table.Options{Extra: true}, 2); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for text, want := range map[string]byte{"": 0, ";": ';', "tab": '\t', `\t`: '\t'} {
		if got, err := table.ParseDelimiter(text); err != nil || got != want {
			t.Errorf("%q is %q, %v", text, got, err)
		}
	}
	for _, text := range []string{";;", "é", `"`, "\n"} {
		if _, err := table.ParseDelimiter(text); err == nil {
			t.Errorf("%q is a delimiter", text)
		}
	}
}

// text returns the text at p. Package parquet reads null as a text that is empty.
func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// TestParquetKeepsColumns checks that predictions follow the columns of the input, which
// keep their order, types and metadata, and that nested columns are copied.
func TestParquetKeepsColumns(t *testing.T) {
	type row struct {
		Zone  *string  `parquet:"zone,optional"`
		X     float64  `parquet:"x"`
		Tags  []string `parquet:"tags,list"`
		Inner struct {
			B int64 `parquet:"b"`
			A int64 `parquet:"a"`
		} `parquet:"inner"`
		Score int32 `parquet:"score"`
	}
	zone := "north"
	rows := []row{{Zone: &zone, X: 1, Tags: []string{"a", "b"}, Score: 4}, {X: 2, Score: 5}}
	rows[0].Inner.A, rows[0].Inner.B = 7, 8
	for _, rows := range [][]row{rows, nil} {
		name := filepath.Join(t.TempDir(), "rows.parquet")
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		w := parquet.NewGenericWriter[row](f, parquet.KeyValueMetadata("pandas", "{}"))
		if _, err := w.Write(rows); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		got, err := pass(table.Parquet, f, schema(t, "{name: x, dtype: float32}"), table.Options{Extra: true}, 1)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		file, err := parquet.OpenFile(strings.NewReader(got), int64(len(got)))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, field := range file.Schema().Fields() {
			names = append(names, field.Name())
		}
		if want := []string{"zone", "x", "tags", "inner", "score", "prediction", "score_2", "is_anomaly", "confidence", "error"}; !slices.Equal(names, want) {
			t.Errorf("columns %q", names)
		}
		if v, ok := file.Lookup("pandas"); !ok || v != "{}" {
			t.Errorf("metadata %q, %v", v, ok)
		}
		type scored struct {
			row
			Prediction *float64 `parquet:"prediction,optional"`
			Score2     *float64 `parquet:"score_2,optional"`
		}
		back, err := parquet.Read[scored](bytes.NewReader([]byte(got)), int64(len(got)))
		if err != nil || len(back) != len(rows) {
			t.Fatalf("%d rows, %v", len(back), err)
		}
		for i, b := range back {
			if b.Prediction == nil || *b.Prediction != 0.5 || *b.Score2 != float64(i) || b.Score != rows[i].Score || b.X != rows[i].X || !slices.Equal(b.Tags, rows[i].Tags) || b.Inner != rows[i].Inner || text(b.Zone) != text(rows[i].Zone) {
				t.Errorf("row %d is %+v", i, b)
			}
		}
		for _, g := range file.Metadata().RowGroups {
			for _, c := range g.Columns {
				want := "ZSTD"
				if kind := c.MetaData.Type.String(); kind == "DOUBLE" || kind == "FLOAT" {
					want = "SNAPPY"
				}
				if c.MetaData.Codec.String() != want {
					t.Errorf("column %v is compressed with %v", c.MetaData.PathInSchema, c.MetaData.Codec)
				}
			}
		}
	}
}

// TestNoNames checks what is said of inputs that no name describes: standard input without
// a format, columns none of which is a feature, and a directory in the place of a file.
func TestNoNames(t *testing.T) {
	if _, err := table.FormatOf("-"); !errors.Is(err, table.ErrFormat) || !strings.HasPrefix(err.Error(), "standard input has no ending: ") {
		t.Errorf("standard input: %v", err)
	}
	_, err := pass(table.CSV, strings.NewReader("heat,flow\n1,2\n"), schema(t, "{name: x, dtype: float32}"), table.Options{}, 10)
	if want := `column "heat" is no feature of this model; known are x; no column of the file is one: rename the columns, or give the features their names with model init --train`; err == nil || err.Error() != want {
		t.Errorf("other columns: %v", err)
	}
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if _, err := table.Open(table.Parquet, dir, io.Discard, schema(t, features), table.Options{}); err == nil || !strings.Contains(err.Error(), "name a regular file") {
		t.Errorf("a directory: %v", err)
	}
}

// TestNoText checks that files in other encodings and packed ones are refused with words,
// whatever their names say, and that a row of such bytes behind others costs itself alone.
func TestNoText(t *testing.T) {
	for in, want := range map[string]string{
		"\xff\xfex\x00\n\x001\x00": "UTF-16", "\xfe\xff\x00x\x00\n\x001": "UTF-16",
		"\x1f\x8b\x08\x00": "gzip", "PK\x03\x04\x14\x00": "Excel", "PK\x03": "", "x\n1\n\x1f\x8b\x08\x00\n": "",
	} {
		for _, format := range []string{table.CSV, table.NDJSON} {
			_, err := pass(format, strings.NewReader(in), schema(t, "{name: x, dtype: float32}"), table.Options{}, 10)
			if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s %q: %v", format, in, err)
			}
			if want == "" && err != nil && strings.Contains(err.Error(), "unpack it") {
				t.Errorf("%s %q: %v", format, in, err)
			}
		}
	}
}
