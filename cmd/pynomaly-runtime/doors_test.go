package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/fasthttp/websocket"
	"github.com/parquet-go/parquet-go"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// oddity is a value that programs and people write, and what becomes of its row.
type oddity struct {
	name, feature string
	json          string // the value as JSON; empty: JSON has no such value
	csv           string // the field of CSV
	parquet       any    // float64, bool or string; nil: there is no such value, or it is missing
	as            string // the row is scored as one with this value of JSON; empty: it fails
	says          string // what the row's error says
}

func oddities() []oddity {
	const number, whole, text = "mean_texture", "worst_area_um2", "radius_class"
	return []oddity{
		{name: "a number", feature: number, json: "17.5", csv: "17.5", parquet: 17.5, as: "17.5"},
		{name: "an exponent", feature: number, json: "1.75e1", csv: "1.75E+01", parquet: 17.5, as: "17.5"},
		{name: "spaces", feature: number, json: " 17.5 ", csv: " 17.5 ", as: "17.5"},
		{name: "no zero", feature: number, csv: ".5", as: "0.5"},
		{name: "no fraction", feature: number, csv: "17.", as: "17"},
		{name: "leading zeros", feature: number, csv: "0017.5", as: "17.5"},
		{name: "a plus", feature: number, csv: "+17.5", as: "17.5"},
		{name: "thousands", feature: number, csv: "1,750.5", says: "without separators of thousands"},
		{name: "a decimal comma", feature: number, csv: "17,5", says: "write the decimal sign as a point"},
		{name: "true", feature: number, json: "true", csv: "True", parquet: true, as: "1"},
		{name: "false", feature: number, json: "false", csv: "FALSE", parquet: false, as: "0"},
		{name: "a whole number with a fraction", feature: whole, json: "552.0", csv: "552.0", as: "552"},
		{name: "half a whole number", feature: whole, json: "552.5", csv: "552.5", says: "give a whole number"},
		{name: "missing", feature: number, json: "null", csv: "", says: "is missing"},
		{name: "a word for missing", feature: number, csv: "N/A", says: "is missing"},
		{name: "another", feature: number, csv: "<NA>", says: "is missing"},
		{name: "NaN", feature: number, csv: "NaN", says: "is missing"},
		{name: "Infinity", feature: number, csv: "Infinity", says: "give a number"},
		{name: "too large", feature: number, json: "1e39", csv: "1e39", parquet: 1e39, says: "float32"},
		{name: "a text for a number", feature: number, json: `"17.5x"`, csv: "17.5x", says: "the feature is float32"},
		{name: "a category", feature: text, json: `"large"`, csv: "large", parquet: "large", as: `"large"`},
		{name: "a category called NA", feature: text, json: `"NA"`, csv: "NA", parquet: "NA", as: `"NA"`},
		{name: "no category", feature: text, json: "null", csv: "", says: "is missing"},
		{name: "not UTF-8", feature: text, csv: "gro\xdf", parquet: "gro\xdf", says: "is not UTF-8"},
	}
}

// plainRow is a row of breast-cancer-mixed, as JSON values by feature.
func plainRow() (order []string, row map[string]string) {
	order = []string{"radius_class", "worst_area_um2", "mean_texture", "mean_smoothness", "mean_compactness", "mean_concavity", "mean_symmetry", "texture_error", "worst_concave_points", "worst_fractal_dimension"}
	row = map[string]string{}
	for i, value := range []string{`"medium"`, "552", "17.5", "0.09", "0.076", "0.04", "0.172", "1.1", "0.079", "0.078"} {
		row[order[i]] = value
	}
	return order, row
}

// object returns a row of JSON with another value of a feature.
func object(feature, value string) string {
	order, row := plainRow()
	row = maps.Clone(row)
	row[feature] = value
	var members []string
	for _, name := range order {
		members = append(members, strconv.Quote(name)+":"+row[name])
	}
	return "{" + strings.Join(members, ",") + "}"
}

// outcome is the score of a row, or its error.
type outcome struct {
	score float64
	err   string
}

// TestDoors sends each oddity through every interface that takes it. All must give the
// score of the row that it stands for, bit for bit, or say the same about it.
func TestDoors(t *testing.T) {
	models := t.TempDir()
	testkit.CopyModel(t, models, "breast-cancer-mixed", "m", "1.0.0", nil)
	p := startProcess(t, "deploy", "serve", "--port", "0", "--models", models, "--state-dir", stateForTests(t))
	p.next(`"message":"serving"`)
	d := &doors{t: t, models: models, address: p.address}
	testkit.Eventually(t, "the model answers", func() bool { return d.single(object("mean_texture", "17.5")).err == "" })
	all := oddities()
	var inJSON, inParquet []oddity
	for _, o := range all {
		if o.json != "" {
			inJSON = append(inJSON, o)
		}
		if o.parquet != nil {
			inParquet = append(inParquet, o)
		}
	}
	want := map[string]float64{}
	for _, o := range all {
		if o.as != "" {
			got := d.single(object(o.feature, o.as))
			if got.err != "" {
				t.Fatalf("%s: %s", o.name, got.err)
			}
			want[o.name] = got.score
		}
	}
	check := func(door string, sent []oddity, got []outcome) {
		t.Helper()
		if len(got) != len(sent) {
			t.Fatalf("%s: %d answers to %d rows", door, len(got), len(sent))
		}
		for i, o := range sent {
			switch {
			case o.as == "" && !strings.Contains(got[i].err, o.says):
				t.Errorf("%s: %s: %q; want %q", door, o.name, got[i].err, o.says)
			case o.as != "" && (got[i].err != "" || got[i].score != want[o.name]):
				t.Errorf("%s: %s: %v; want %v", door, o.name, got[i], want[o.name])
			}
		}
	}
	check("predict", inJSON, d.each(inJSON, d.single))
	check("batch", inJSON, d.batch(inJSON))
	check("WebSocket", inJSON, d.socket(inJSON))
	check("NDJSON", inJSON, d.file("rows.ndjson", lines(inJSON), readLines))
	check("a JSON array", inJSON, d.file("rows.json", "["+strings.Join(strings.Split(strings.TrimSpace(lines(inJSON)), "\n"), ",\n")+"]", readArray))
	for comma, name := range map[string]string{",": "commas", ";": "semicolons", "\t": "tabs"} {
		check("CSV with "+name, all, d.file("rows.csv", csvOf(all, comma), func(text string) []outcome { return readCSV(t, text, comma) }))
	}
	check("CSV through a host", all, d.file("rows.csv", csvOf(all, ","), func(text string) []outcome { return readCSV(t, text, ",") }, "--host", "http://"+p.address))
	check("Parquet", inParquet, d.parquet(inParquet))
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.end()
}

// doors are the interfaces of a host.
type doors struct {
	t               *testing.T
	models, address string
}

func (d *doors) post(path, body string) []byte {
	d.t.Helper()
	resp, err := http.Post("http://"+d.address+path, "application/json", strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return text
}

// answer reads a prediction or a problem.
func answer(text []byte) outcome {
	var a struct {
		Score  *float64     `json:"score"`
		Detail string       `json:"detail"`
		Error  *api.Problem `json:"error"`
	}
	switch err := json.Unmarshal(text, &a); {
	case err != nil:
		return outcome{err: err.Error()}
	case a.Error != nil:
		return outcome{err: a.Error.Detail}
	case a.Score == nil:
		return outcome{err: a.Detail}
	}
	return outcome{score: *a.Score}
}

func (d *doors) single(row string) outcome {
	return answer(d.post("/api/v1/predict", `{"model_id":"m","data":`+row+`}`))
}

func (d *doors) each(sent []oddity, ask func(string) outcome) []outcome {
	var got []outcome
	for _, o := range sent {
		got = append(got, ask(object(o.feature, o.json)))
	}
	return got
}

func (d *doors) batch(sent []oddity) []outcome {
	d.t.Helper()
	rows := strings.ReplaceAll(strings.TrimSpace(lines(sent)), "\n", ",")
	var b struct{ Predictions []json.RawMessage }
	if err := json.Unmarshal(d.post("/api/v1/predict/batch", `{"model_id":"m","data":[`+rows+`]}`), &b); err != nil {
		d.t.Fatal(err)
	}
	var got []outcome
	for _, text := range b.Predictions {
		got = append(got, answer(text))
	}
	return got
}

// dial opens a WebSocket.
func (d *doors) dial() *websocket.Conn {
	d.t.Helper()
	c, resp, err := websocket.DefaultDialer.Dial("ws://"+d.address+"/api/v1/predict/stream", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return c
}

func (d *doors) socket(sent []oddity) []outcome {
	d.t.Helper()
	c := d.dial()
	defer c.Close()
	return d.each(sent, func(row string) outcome { return d.message(c, "m", row) })
}

// message sends a row over a WebSocket.
func (d *doors) message(c *websocket.Conn, id, row string) outcome {
	d.t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(`{"model_id":"`+id+`","data":`+row+`}`)); err != nil {
		d.t.Fatal(err)
	}
	_, text, err := c.ReadMessage()
	if err != nil {
		d.t.Fatal(err)
	}
	return answer(text)
}

// file scores a file and reads the output.
func (d *doors) file(name, text string, read func(string) []outcome, flags ...string) []outcome {
	d.t.Helper()
	dir := d.t.TempDir()
	in, out := filepath.Join(dir, name), filepath.Join(dir, "out-"+name)
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	args := append([]string{"predict", "m", in, "-o", out}, flags...)
	if len(flags) == 0 {
		args = append(args, "--models", d.models)
	}
	if _, errs, err := command(d.t, nil, args...); err != nil && !strings.Contains(err.Error(), "2") {
		d.t.Fatalf("%s: %v: %s", name, err, errs)
	}
	scored, err := os.ReadFile(out)
	if err != nil {
		d.t.Fatal(err)
	}
	return read(string(scored))
}

func lines(sent []oddity) string {
	var b strings.Builder
	for _, o := range sent {
		b.WriteString(object(o.feature, o.json) + "\n")
	}
	return b.String()
}

func readLines(text string) []outcome {
	var got []outcome
	for line := range strings.Lines(text) {
		got = append(got, offlineAnswer([]byte(line)))
	}
	return got
}

func readArray(text string) []outcome {
	var rows []json.RawMessage
	if err := json.Unmarshal([]byte(text), &rows); err != nil {
		return []outcome{{err: err.Error()}}
	}
	var got []outcome
	for _, row := range rows {
		got = append(got, offlineAnswer(row))
	}
	return got
}

func offlineAnswer(text []byte) outcome {
	var a struct {
		Score float64
		Error string
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return outcome{err: err.Error()}
	}
	return outcome{a.Score, a.Error}
}

// csvOf returns rows as CSV.
func csvOf(sent []oddity, comma string) string {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Comma = rune(comma[0])
	order, row := plainRow()
	_ = w.Write(order)
	for _, o := range sent {
		var fields []string
		for _, name := range order {
			value := strings.Trim(row[name], `"`)
			if name == o.feature {
				value = o.csv
			}
			fields = append(fields, value)
		}
		_ = w.Write(fields)
	}
	w.Flush()
	return b.String()
}

func readCSV(t *testing.T, text, comma string) []outcome {
	t.Helper()
	r := csv.NewReader(strings.NewReader(text))
	r.Comma = rune(comma[0])
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var got []outcome
	for _, row := range rows[1:] {
		n := len(row)
		score, _ := strconv.ParseFloat(row[n-4], 64)
		got = append(got, outcome{score, row[n-1]})
	}
	return got
}

// parquet scores a file for each oddity, because a column has one type.
func (d *doors) parquet(sent []oddity) []outcome {
	d.t.Helper()
	order, row := plainRow()
	var got []outcome
	for _, o := range sent {
		group, values := parquet.Group{}, map[string]any{}
		for _, name := range order {
			var v any
			if err := json.Unmarshal([]byte(row[name]), &v); err != nil {
				d.t.Fatal(err)
			}
			if name == o.feature {
				v = o.parquet
			}
			values[name] = v
			switch v.(type) {
			case bool:
				group[name] = parquet.Leaf(parquet.BooleanType)
			case string:
				group[name] = parquet.String()
			default:
				group[name] = parquet.Leaf(parquet.DoubleType)
			}
		}
		var b bytes.Buffer
		w := parquet.NewGenericWriter[map[string]any](&b, parquet.NewSchema("rows", group))
		if _, err := w.Write([]map[string]any{values}); err != nil {
			d.t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			d.t.Fatal(err)
		}
		got = append(got, d.file("rows.parquet", b.String(), func(text string) []outcome {
			rows, err := parquet.Read[struct {
				Score *float64 `parquet:"score,optional"`
				Error *string  `parquet:"error,optional"`
			}](strings.NewReader(text), int64(len(text)))
			if err != nil || len(rows) != 1 {
				return []outcome{{err: fmt.Sprint(rows, err)}}
			}
			one := outcome{}
			if rows[0].Score != nil {
				one.score = *rows[0].Score
			}
			if rows[0].Error != nil {
				one.err = *rows[0].Error
			}
			return []outcome{one}
		})...)
	}
	return got
}
