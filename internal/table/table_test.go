package table_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

func schema(t testing.TB, features string) *rows.Schema {
	t.Helper()
	m, err := manifest.Decode([]byte("apiVersion: pynomaly.io/v1\nkind: Model\nid: m\nversion: 1.0.0\nartifact: a\nfeatures: [" + features + "]\n"))
	if err != nil {
		t.Fatal(err)
	}
	return rows.NewSchema(m)
}

const features = "{name: x, dtype: float32}, {name: n, dtype: int64}, {name: s, dtype: string}, {name: b, dtype: bool}"

// pass reads a whole table and answers every row that can be used with its own
// number, in portions of the given size.
func pass(format string, in io.Reader, s *rows.Schema, o table.Options, portion int) (string, error) {
	var out bytes.Buffer
	t, err := table.Open(format, in, &out, s, o)
	if err != nil {
		return "", err
	}
	d := s.NewDecoder()
	for row := 0; ; {
		d.Reset()
		n, err := t.Read(d, portion)
		if errors.Is(err, io.EOF) {
			err = t.Close()
			return out.String(), err
		}
		if err != nil {
			return out.String(), err
		}
		if n != d.Total() || d.Total() != d.Batch().Rows()+len(d.Failed()) {
			return "", fmt.Errorf("%d rows, %d in the decoder, %d usable, %d failed", n, d.Total(), d.Batch().Rows(), len(d.Failed()))
		}
		failed := d.Failed()
		for i := range n {
			a := table.Answer{Prediction: 0.5, Score: float64(row)}
			if len(failed) > 0 && failed[0].Row == i {
				a = table.Answer{Error: failed[0].Field + " " + failed[0].Reason}
				failed = failed[1:]
			} else if i%2 == 0 {
				anomaly, confidence := true, 0.25
				a.Anomaly, a.Confidence = &anomaly, &confidence
			}
			if err := t.Write(i, a); err != nil {
				return "", err
			}
			row++
		}
	}
}

func TestCSV(t *testing.T) {
	in := "n,x,b,s\n1,1.5,true,plain\n2,,false,\"with, comma\"\n3,2.5,1,\"two\nlines\"\n4,1\n5,7,0,last\n6,1,1,long,one,two\n"
	for _, portion := range []int{1, 2, 100} {
		got, err := pass(table.CSV, strings.NewReader(in), schema(t, features), table.Options{}, portion)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(got, "\n")
		if lines[0] != "n,x,b,s,prediction,score,is_anomaly,confidence,error" {
			t.Errorf("header %q", lines[0])
		}
		if !strings.HasPrefix(lines[1], "1,1.5,true,plain,0.5,0,true,0.25,") {
			t.Errorf("first row %q", lines[1])
		}
		if !strings.Contains(got, "with, comma\",,,,,x is missing") || !strings.Contains(got, "two\nlines\",0.5,2,") {
			t.Errorf("got\n%s", got)
		}
		if !strings.Contains(got, "6,1,1,long,,,,,\" the line has 6 fields; the header has 4\"") {
			t.Errorf("got\n%s", got)
		}
		if !strings.Contains(got, "4,1,,,,,,,\" the line has 2 fields; the header has 4\"") {
			t.Errorf("got\n%s", got)
		}
	}
}

func TestColumns(t *testing.T) {
	s := schema(t, "{name: x, dtype: float32}")
	for _, c := range []struct {
		in    string
		extra bool
		want  string // the error; empty: none
	}{
		{"x\n1\n", false, ""},
		{"x,other\n1,a\n", false, `column "other" is no feature of this model; known are x; pass --extra`},
		{"x,other\n1,a\n", true, ""},
		{"x,x\n1,2\n", true, "appears twice"},
		{"", false, "the file is empty"},
		{"\ufeffx\n1\n", false, ""},
		{"\ufeff\"x\"\n1\n", false, ""},
		{"x,score\n1,2\n", true, ""},
		{"y\n1\n", true, `the file has no column for "x", which the model needs: the columns are y`},
		{",x,,\n,1,,\n", true, ""},
		{"x , other,other\n1,2,3\n", true, ""},
	} {
		_, err := pass(table.CSV, strings.NewReader(c.in), s, table.Options{Extra: c.extra}, 10)
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q: %v, want %q", c.in, err, c.want)
		}
	}
}

func TestNDJSON(t *testing.T) {
	in := `{"x":1,"n":2,"s":"a","b":true}` + "\n\n" + `[1,2,"b",false]` + "\r\n" + `{"data":{"x":1,"n":2,"s":"c","b":true}}` + "\n{oops\n" + `{"x":1}`
	got, err := pass(table.NDJSON, strings.NewReader(in), schema(t, features), table.Options{}, 2)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if len(lines) != 5 {
		t.Fatalf("%d lines:\n%s", len(lines), got)
	}
	for i, want := range []string{`"score":0`, `"score":1`, `"score":2`, "malformed JSON", "n is missing"} {
		if !strings.Contains(lines[i], want) {
			t.Errorf("line %d is %s, want %s in it", i, lines[i], want)
		}
	}
}

type parquetRow struct {
	X     *float64 `parquet:"x,optional"`
	N     int32    `parquet:"n"`
	S     string   `parquet:"s"`
	B     bool     `parquet:"b"`
	Other []byte   `parquet:"other"`
}

func writeParquet(t testing.TB, file string, all []parquetRow) {
	t.Helper()
	if err := parquet.WriteFile(file, all); err != nil {
		t.Fatal(err)
	}
}

func TestParquet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "in.parquet")
	one := 1.5
	var all []parquetRow
	for i := range 2500 {
		r := parquetRow{X: &one, N: int32(i), S: fmt.Sprint("s", i), B: i%3 == 0, Other: []byte{1, 2}}
		if i%100 == 7 {
			r.X = nil
		}
		all = append(all, r)
	}
	writeParquet(t, file, all)
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := schema(t, features)
	if _, err := pass(table.Parquet, f, s, table.Options{}, 100); err == nil || !strings.Contains(err.Error(), `"other"`) {
		t.Errorf("a column that is no feature: %v", err)
	}
	got, err := pass(table.Parquet, f, s, table.Options{Extra: true}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	type out struct {
		parquetRow
		Prediction *float64 `parquet:"prediction,optional"`
		Score      *float64 `parquet:"score,optional"`
		Anomaly    *bool    `parquet:"is_anomaly,optional"`
		Error      *string  `parquet:"error,optional"`
	}
	back, err := parquet.Read[out](strings.NewReader(got), int64(len(got)))
	if err != nil {
		t.Fatal(err)
	}
	if len(back) != len(all) {
		t.Fatalf("%d rows, want %d", len(back), len(all))
	}
	for i, r := range back {
		if r.N != int32(i) || r.S != all[i].S || r.B != all[i].B || !bytes.Equal(r.Other, all[i].Other) {
			t.Fatalf("row %d came back as %+v", i, r)
		}
		if failed := i%100 == 7; failed != (r.Error != nil) || failed != (r.Score == nil) {
			t.Fatalf("row %d: error %v, score %v", i, r.Error, r.Score)
		} else if !failed && *r.Score != float64(i) {
			t.Fatalf("row %d has score %v", i, *r.Score)
		}
	}
}

// TestParquetTypes: unsigned numbers keep their value; what is no plain number is
// refused.
func TestParquetTypes(t *testing.T) {
	s := schema(t, "{name: a, dtype: float64}")
	read := func(write func(file string) error) (float64, error) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "t.parquet")
		if err := write(file); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		table, err := table.Open(table.Parquet, f, io.Discard, s, table.Options{})
		if err != nil {
			return 0, err
		}
		d := s.NewDecoder()
		if _, err := table.Read(d, 10); err != nil || d.Batch().Rows() != 1 {
			t.Fatalf("%v, failed %v", err, d.Failed())
		}
		return d.Batch().Float64s()[0], nil
	}
	type narrow struct {
		A uint32 `parquet:"a"`
	}
	type wide struct {
		A uint64 `parquet:"a"`
	}
	type money struct {
		A int64 `parquet:"a,decimal(2:10)"`
	}
	type day struct {
		A int32 `parquet:"a,date"`
	}
	if v, err := read(func(f string) error { return parquet.WriteFile(f, []narrow{{4_000_000_000}}) }); err != nil || v != 4e9 {
		t.Errorf("uint32: %v, %v", v, err)
	}
	if v, err := read(func(f string) error { return parquet.WriteFile(f, []wide{{18_000_000_000_000_000_000}}) }); err != nil || v != 1.8e19 {
		t.Errorf("uint64: %v, %v", v, err)
	}
	if _, err := read(func(f string) error { return parquet.WriteFile(f, []money{{1234}}) }); err == nil || !strings.Contains(err.Error(), `column "a" is of type DECIMAL`) {
		t.Errorf("a decimal: %v", err)
	}
	if _, err := read(func(f string) error { return parquet.WriteFile(f, []day{{1}}) }); err == nil || !strings.Contains(err.Error(), "DATE") {
		t.Errorf("a date: %v", err)
	}
}

func TestFormats(t *testing.T) {
	for name, want := range map[string]string{"a.csv": "csv", "a.CSV": "csv", "a.ndjson": "ndjson", "a.jsonl": "ndjson", "a.parquet": "parquet", "a.txt": "", "-": ""} {
		got, err := table.FormatOf(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := table.Open(table.Parquet, strings.NewReader("x"), io.Discard, schema(t, features), table.Options{}); err == nil {
		t.Error("a parquet pipe is accepted")
	}
	if _, err := table.Open("xls", strings.NewReader("x"), io.Discard, schema(t, features), table.Options{}); !errors.Is(err, table.ErrFormat) {
		t.Errorf("xls: %v", err)
	}
}

// The fuzz targets: whatever the bytes, reading ends in rows or an error.

func FuzzCSV(f *testing.F) {
	for _, seed := range []string{"n,x,b,s\n1,1.5,true,a\n", "x\n1\n", "n,x,b,s\n1,\"", "n,x,b,s\n1,2\n,,,,\n", "\xef\xbb\xbfx,n,s,b\n1,1,1,1\n", "x,n,s,b\r\n1,1,a,1\r\n"} {
		f.Add([]byte(seed))
	}
	s := schema(f, features)
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := pass(table.CSV, bytes.NewReader(data), s, table.Options{Extra: true}, 3)
		if err != nil && strings.Contains(err.Error(), "in the decoder") {
			t.Fatal(err)
		}
	})
}

func FuzzNDJSON(f *testing.F) {
	for _, seed := range []string{`{"x":1,"n":2,"s":"a","b":true}`, `[1,2,"b",false]` + "\n", `{"data":[1,2,"b",false],"score":3}`, "{\n\n}", "null\n1\n\"", `{"data":1}`, `{"x":NaN,"y":{"z":[-Infinity]}}`, `{"data":{"x":Infinity}}`, `[{"x":1},{"s":"]\\\"}"},[1],]`, "[\n[1,2,\"b\",true]\n]"} {
		f.Add([]byte(seed))
	}
	s := schema(f, features)
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := pass(table.NDJSON, bytes.NewReader(data), s, table.Options{}, 3)
		if err != nil && !bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) && !bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) { // a line fails alone
			t.Fatal(err)
		}
	})
}

func FuzzParquet(f *testing.F) {
	file := filepath.Join(f.TempDir(), "seed.parquet")
	one := 1.5
	for _, all := range [][]parquetRow{nil, {{X: &one, N: 1, S: "a", B: true, Other: []byte("o")}}, {{N: 1}, {X: &one, S: strings.Repeat("long", 100)}}} {
		writeParquet(f, file, all)
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Add([]byte("PAR1PAR1"))
	for name, file := range openPyarrow(f).files {
		if strings.Contains(name, "-17.") || strings.Contains(name, "-runs-") {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	s := schema(f, features)
	f.Fuzz(func(t *testing.T, data []byte) {
		at, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer at.Close()
		if _, err := at.Write(data); err != nil {
			t.Fatal(err)
		}
		_, err = pass(table.Parquet, at, s, table.Options{Extra: true}, 3)
		if err != nil && strings.Contains(err.Error(), "in the decoder") {
			t.Fatal(err)
		}
	})
}

// TestRowsStay: blank lines of one column are rows whose value is missing, a row stands
// under "data" wherever that is, and line ends in texts stay.
func TestRowsStay(t *testing.T) {
	for name, c := range map[string]struct {
		format, features, in string
		want                 []string // in the lines of the output, after a header
	}{
		"one column":      {table.CSV, "{name: x, dtype: float64}", "x\n1\n\n3\n", []string{"1,", "x is missing", "3,"}},
		"three columns":   {table.CSV, "{name: x, dtype: float64}, {name: y, dtype: float64}", "x,y\n1,1\n\n3,3\n", []string{"1,1,", "3,3,"}},
		"plus and minus":  {table.CSV, "{name: x, dtype: float64}", "x\n+-5\n+5\n", []string{`""+-5""`, "+5,"}},
		"data comes last": {table.NDJSON, "{name: x, dtype: float64}", `{"id":7,"data":{"x":1}}` + "\n", []string{`"score"`}},
		"data twice":      {table.NDJSON, "{name: x, dtype: float64}", `{"data":{"x":1},"data":{"x":2}}` + "\n", []string{`has \"data\" twice`}},
		"no numbers":      {table.NDJSON, "{name: x, dtype: float64}", `{"x":NaN}` + "\n" + `{"data":[-Infinity],"id":Infinity}` + "\n[[NaN]]\n", []string{`x is NaN or Infinity`, `x is NaN or Infinity`, `is an array`}},
		"no data":         {table.NDJSON, "{name: x, dtype: float64}", `{"x":1}` + "\n", []string{`"score"`}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := pass(c.format, strings.NewReader(c.in), schema(t, c.features), table.Options{}, 2)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(got), "\n")
			if c.format == table.CSV {
				lines = lines[1:]
			}
			if len(lines) != len(c.want) {
				t.Fatalf("%d lines:\n%s", len(lines), got)
			}
			for i, want := range c.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("line %d is %s, want %s in it", i, lines[i], want)
				}
			}
		})
	}
}

// TestLongNumbers: what a number is does not depend on how long it is written, in any file.
func TestLongNumbers(t *testing.T) {
	long := "1" + strings.Repeat("0", 300_000) + "e-300000"
	small := "-0." + strings.Repeat("0", 300_000) + "25e300000"
	for format, in := range map[string]string{
		table.CSV:    "x,y\n" + long + "," + small + "\n",
		table.NDJSON: `{"x":` + long + `,"y":` + small + "}\n[" + long + "," + small + "]\n",
	} {
		s := schema(t, "{name: x, dtype: float32}, {name: y, dtype: float64}")
		open, err := table.Open(format, strings.NewReader(in), io.Discard, s, table.Options{})
		if err != nil {
			t.Fatal(err)
		}
		d := s.NewDecoder()
		n, err := open.Read(d, 10)
		if err != nil || len(d.Failed()) > 0 {
			t.Fatalf("%s: %v, %v", format, err, d.Failed())
		}
		for i := range n {
			if x, y := d.Batch().Value(i, 0), d.Batch().Value(i, 1); x != float32(1) || y != -0.25 {
				t.Errorf("%s, row %d: %v, %v; want 1, -0.25", format, i, x, y)
			}
		}
	}
}
