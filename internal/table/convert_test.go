package table_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/pynomaly/pynomaly-runtime/internal/table"
)

// saved writes a text to a file and opens it.
func saved(t testing.TB, text string) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "rows")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

const (
	asCSV    = "id,x,n,s,b\n7,0.1,9007199254740993,ä\"x,true\n8,,-5,,false\n9,many,1,y,true\n"
	asNDJSON = `{"data":{"x":0.1,"n":9007199254740993,"s":"ä\"x","b":true},"id":"7"}` + "\n" +
		`{"data":{"x":null,"n":-5,"s":null,"b":false},"id":"8"}` + "\n" +
		`{"data":{"x":"many","n":1,"s":"y","b":true},"id":"9"}` + "\n"
)

const lax = "{name: x, dtype: float32, missing: 3}, {name: n, dtype: int64}, {name: s, dtype: string, missing: none}, {name: b, dtype: bool}"

// TestConversions writes rows of each format in each other one. Names, order, types,
// missing values, other columns and rows that cannot be used must arrive.
func TestConversions(t *testing.T) {
	s := schema(t, lax)
	convert := func(from, to, text string, portion int) string {
		t.Helper()
		got, err := pass(from, saved(t, text), s, table.Options{Extra: true, Output: to}, portion)
		if err != nil {
			t.Fatalf("%s to %s: %v", from, to, err)
		}
		return got
	}
	const failed = `x is \"many\"; the feature is float32: give a number`
	wantJSON := `{"data":{"x":0.1,"n":9007199254740993,"s":"ä\"x","b":true},"id":"7","prediction":0.5,"score":0,"is_anomaly":true,"confidence":0.25}` + "\n" +
		`{"data":{"x":null,"n":-5,"s":null,"b":false},"id":"8","prediction":0.5,"score":1}` + "\n" +
		`{"data":{"x":"many","n":1,"s":"y","b":true},"id":"9","error":"` + failed + `"}` + "\n"
	wantCSV := "x,n,s,b,id,prediction,score,is_anomaly,confidence,error\n0.1,9007199254740993,\"ä\"\"x\",true,7,0.5,0,true,0.25,\n,-5,,false,8,0.5,1,,,\nmany,1,y,true,9,,,,,"
	if got := convert(table.CSV, table.NDJSON, asCSV, 10); got != wantJSON {
		t.Errorf("CSV as NDJSON:\n%s", got)
	}
	if got := convert(table.CSV, table.JSON, asCSV, 10); got != "["+strings.ReplaceAll(strings.TrimSuffix(wantJSON, "\n"), "}\n{", "}\n,{")+"\n]\n" {
		t.Errorf("CSV as JSON:\n%s", got)
	}
	if got := convert(table.NDJSON, table.CSV, asNDJSON, 10); !strings.HasPrefix(got, wantCSV) {
		t.Errorf("NDJSON as CSV:\n%s\nwant\n%s", got, wantCSV)
	}
	if got := convert(table.NDJSON, table.JSON, asNDJSON, 10); !strings.HasPrefix(got, "[{") || !strings.HasSuffix(got, "}\n]\n") || strings.Count(got, "\n,{") != 2 {
		t.Errorf("NDJSON as JSON:\n%s", got)
	}
	array := "[" + strings.ReplaceAll(strings.TrimSpace(asNDJSON), "\n", ",") + "]"
	if got := convert(table.NDJSON, table.NDJSON, array, 10); strings.Count(got, "\n") != 3 || got[0] != '{' {
		t.Errorf("JSON as NDJSON:\n%s", got)
	}
	if got := convert(table.NDJSON, table.CSV, array, 10); !strings.HasPrefix(got, wantCSV) {
		t.Errorf("JSON as CSV:\n%s", got)
	}
	for from, in := range map[string]string{table.CSV: asCSV, table.NDJSON: asNDJSON} {
		file := convert(from, table.Parquet, in, 10)
		type scored struct {
			ID    *string  `parquet:"id,optional"`
			X     *float32 `parquet:"x,optional"`
			N     *int64   `parquet:"n,optional"`
			S     *string  `parquet:"s,optional"`
			B     *bool    `parquet:"b,optional"`
			Score *float64 `parquet:"score,optional"`
			Error *string  `parquet:"error,optional"`
		}
		all, err := parquet.Read[scored](strings.NewReader(file), int64(len(file)))
		if err != nil || len(all) != 3 {
			t.Fatalf("%s as Parquet: %d rows, %v", from, len(all), err)
		}
		a, b, c := all[0], all[1], all[2]
		if *a.ID != "7" || *a.X != 0.1 || *a.N != 9007199254740993 || *a.S != `ä"x` || !*a.B || *a.Score != 0 || text(a.Error) != "" {
			t.Errorf("%s as Parquet: %+v", from, a)
		}
		if b.X != nil || *b.N != -5 || text(b.S) != "" || *b.B || *b.Score != 1 {
			t.Errorf("%s as Parquet: %+v", from, b)
		}
		if c.X != nil || *c.N != 1 || c.Score != nil || !strings.Contains(text(c.Error), "float32") {
			t.Errorf("%s as Parquet: %+v", from, c)
		}
		// And back. Answers of the first run are other columns now.
		if back := convert(table.Parquet, table.CSV, file, 2); !strings.Contains(back, "0.1,9007199254740993") || !strings.Contains(back, "prediction_2") {
			t.Errorf("%s as Parquet as CSV:\n%s", from, back)
		}
		if back := convert(table.Parquet, table.NDJSON, file, 2); !strings.Contains(back, `"x":0.1,"n":9007199254740993,"s":"ä\"x","b":true}`) {
			t.Errorf("%s as Parquet as NDJSON:\n%s", from, back)
		}
	}
}

// TestConversionsOfListedRows checks that what stands beside rows in feature order
// arrives, or ends the run.
func TestConversionsOfListedRows(t *testing.T) {
	s := schema(t, "{name: x, dtype: float64}, {name: y, dtype: float64}")
	text := `{"data":[1,2],"id":"a","note":{"b":1}}` + "\n" + `{"data":{"x":3,"y":4},"id":"c"}` + "\n"
	got, err := pass(table.NDJSON, saved(t, text), s, table.Options{Output: table.CSV}, 10)
	if err != nil || !strings.Contains(got, "\n1,2,a,\"{\"\"b\"\":1}\",") || !strings.Contains(got, "\n3,4,c,,") {
		t.Errorf("%v\n%s", err, got)
	}
	later := `{"data":[1,2]}` + "\n" + `{"data":[3,4],"id":"c"}` + "\n"
	if _, err := pass(table.NDJSON, saved(t, later), s, table.Options{Output: table.CSV}, 1); err == nil || !strings.Contains(err.Error(), `the member "id"`) {
		t.Errorf("a member that comes later: %v", err)
	}
}

// TestConversionsOfNothing checks that tables without rows have a header.
func TestConversionsOfNothing(t *testing.T) {
	s := schema(t, "{name: x, dtype: float64}")
	for _, c := range []struct{ from, to, text, want string }{
		{table.CSV, table.NDJSON, "x\n", ""},
		{table.CSV, table.JSON, "x\n", "[]\n"},
		{table.NDJSON, table.CSV, "", "x,prediction,score,is_anomaly,confidence,error\n"},
		{table.NDJSON, table.JSON, "", "[]\n"},
	} {
		if got, err := pass(c.from, saved(t, c.text), s, table.Options{Output: c.to}, 1); err != nil || got != c.want {
			t.Errorf("%s to %s: %q, %v", c.from, c.to, got, err)
		}
	}
	if got, err := pass(table.CSV, saved(t, "x\n"), s, table.Options{Output: table.Parquet}, 1); err != nil || !strings.HasPrefix(got, "PAR1") {
		t.Errorf("%q, %v", got, err)
	}
}

// TestConversionsRefused checks that what another format cannot hold is refused with
// the column, and before a row is scored where it can be.
func TestConversionsRefused(t *testing.T) {
	type row struct {
		X     float64   `parquet:"x"`
		Tags  []string  `parquet:"tags,list"`
		Large [16]byte  `parquet:"large,uuid"`
		At    int64     `parquet:"at,timestamp(millisecond)"`
		Some  []float64 `parquet:"some"`
	}
	name := filepath.Join(t.TempDir(), "rows.parquet")
	if err := parquet.WriteFile(name, []row{{X: 1, At: 1700000000123}}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := schema(t, "{name: x, dtype: float64}")
	for _, to := range []string{table.CSV, table.NDJSON, table.JSON} {
		if _, err := table.Open(table.Parquet, f, io.Discard, s, table.Options{Extra: true, Output: to}); err == nil || !strings.Contains(err.Error(), `column "`) || !strings.Contains(err.Error(), "Parquet") {
			t.Errorf("%s: %v", to, err)
		}
	}
	if _, err := table.Open(table.CSV, strings.NewReader("x\n1\n"), io.Discard, s, table.Options{Output: "xls"}); err == nil {
		t.Error("xls is written")
	}
	late := `{"x":1}` + "\n" + `{"x":2,"id":3}` + "\n"
	if _, err := pass(table.NDJSON, saved(t, late), s, table.Options{Extra: true, Output: table.CSV}, 1); err == nil || !strings.Contains(err.Error(), `"id"`) {
		t.Errorf("a member that comes late: %v", err)
	}
	if got, err := pass(table.NDJSON, saved(t, late+`[4]`+"\n"), s, table.Options{Extra: true, Output: table.CSV}, 3); err != nil || !strings.Contains(got, "\n1,,") || !strings.Contains(got, "\n2,3,") || !strings.Contains(got, "\n4,,") {
		t.Errorf("%s%v", got, err)
	}
	type timed struct {
		X  float64 `parquet:"x"`
		At int64   `parquet:"at,timestamp(millisecond)"`
		On int32   `parquet:"on,date"`
	}
	if err := parquet.WriteFile(name, []timed{{1, 1700000000123, 19000}}); err != nil {
		t.Fatal(err)
	}
	g, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if got, err := pass(table.Parquet, g, s, table.Options{Extra: true, Output: table.CSV}, 3); err != nil || !strings.Contains(got, "1,2023-11-14T22:13:20.123Z,2022-01-08,") {
		t.Errorf("times: %s%v", got, err)
	}
}

func TestOutputFormats(t *testing.T) {
	for name, want := range map[string]string{"a.csv": "csv", "a.NDJSON": "ndjson", "a.jsonl": "ndjson", "a.json": "json", "a.parquet": "parquet", "a.pq": "parquet", "a.txt": "", "-": "", "/dev/null": ""} {
		if got := table.OutputFormat(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func FuzzConversion(f *testing.F) {
	f.Add(asCSV, 0, 1)
	f.Add(asNDJSON, 1, 0)
	f.Add("x\n1,2\n\"", 0, 2)
	f.Add(`{"data":[1,2]}`+"\n"+`[NaN,"a",{}]`+"\n{", 1, 3)
	formats := []string{table.CSV, table.NDJSON, table.JSON, table.Parquet}
	s := schema(f, lax)
	f.Fuzz(func(t *testing.T, text string, from, to int) {
		_, err := pass(formats[uint(from)%2], strings.NewReader(text), s, table.Options{Extra: true, Output: formats[uint(to)%4]}, 3)
		if err != nil && strings.Contains(err.Error(), "damaged") {
			t.Error(fmt.Errorf("%q: %w", text, err))
		}
	})
}

// TestExplained checks that each format has the explanations of its rows.
func TestExplained(t *testing.T) {
	s := schema(t, "{name: x, dtype: float64}, {name: y, dtype: float64}")
	o := table.Options{Explain: true}
	explain := func(format, in string) string {
		t.Helper()
		var out strings.Builder
		o := o
		o.Output = format
		tab, err := table.Open(table.CSV, strings.NewReader(in), &out, s, o)
		if err != nil {
			t.Fatal(err)
		}
		d := s.NewDecoder()
		if n, err := tab.Read(d, 10); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		e := &table.Explanation{Method: "exact", BaseValue: 0.5, Additive: true, Contributions: []float64{1, -2}}
		for i, a := range []table.Answer{{Prediction: 1, Score: -0.5, Explanation: e}, {Error: "bad"}} {
			if err := tab.Write(i, a); err != nil {
				t.Fatal(err)
			}
		}
		if err := tab.Close(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	const in = "x,y\n1,2\n3,\n"
	header := "x,y,prediction,score,is_anomaly,confidence,error,base_value,contribution_x,contribution_y\n"
	if got := explain(table.CSV, in); got != header+"1,2,1,-0.5,,,,0.5,1,-2\n3,,,,,,bad,,,\n" {
		t.Errorf("CSV:\n%s", got)
	}
	if got := explain(table.NDJSON, in); !strings.HasPrefix(got, `{"data":{"x":1,"y":2},"prediction":1,"score":-0.5,"explanation":{"method":"exact","base_value":0.5,"additive":true,"residual":0,"contributions":[{"feature":"x","contribution":1},{"feature":"y","contribution":-2}]}}`+"\n") {
		t.Errorf("NDJSON:\n%s", got)
	}
	file := explain(table.Parquet, in)
	type row struct {
		Base *float64 `parquet:"base_value,optional"`
		Y    *float64 `parquet:"contribution_y,optional"`
	}
	all, err := parquet.Read[row](strings.NewReader(file), int64(len(file)))
	if err != nil || len(all) != 2 || *all[0].Base != 0.5 || *all[0].Y != -2 || all[1].Y != nil {
		t.Errorf("Parquet: %+v, %v", all, err)
	}
	// The same without a conversion.
	again, err := os.Create(filepath.Join(t.TempDir(), "rows.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := again.WriteString(file); err != nil {
		t.Fatal(err)
	}
	o.Extra = true
	got, err := pass(table.Parquet, again, s, o, 2)
	if err != nil || !strings.HasPrefix(got, "PAR1") || !strings.Contains(got, "contribution_y_2") {
		t.Errorf("Parquet as Parquet: %v", err)
	}
	if got, err := pass(table.NDJSON, strings.NewReader(`{"data":[1,2],"explanation":3}`+"\n"), s, o, 2); err != nil || strings.Contains(got, "explanation_2") {
		t.Errorf("%s%v", got, err)
	}
}
