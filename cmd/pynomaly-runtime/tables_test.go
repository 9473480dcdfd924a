package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// pima are rows of pima-lof.
func pima() [][]string {
	return [][]string{
		{"8", "155", "62", "26", "495", "34", "0.543", "46"}, {"1", "85", "66", "29", "0", "26.6", "0.351", "31"}, {"0", "137", "40", "35", "168", "43.1", "2.288", "33"},
	}
}

// written is how a table is written.
type written struct {
	comma, end    string   // of CSV; empty: a comma, a line feed
	before        []string // columns before the features, and their values in each row
	after         []string
	reversed      bool
	without       int // features left out at the end
	noRows        bool
	begin         string // of the file
	wrap, idFirst bool   // of JSON: the features are in data, beside an id
}

func (w written) columns() []string {
	var names []string
	for i := range 8 - w.without {
		names = append(names, fmt.Sprintf("f%d", i))
	}
	if w.reversed {
		names = backwards(names)
	}
	return names
}

func backwards(list []string) []string {
	var out []string
	for _, s := range list {
		out = append([]string{s}, out...)
	}
	return out
}

func (w written) row(i int) []string {
	row := pima()[i][:8-w.without]
	if w.reversed {
		row = backwards(row)
	}
	return row
}

func (w written) csv() string {
	comma, end := w.comma, w.end
	if comma == "" {
		comma = ","
	}
	if end == "" {
		end = "\n"
	}
	line := func(before, row, after []string) string {
		return strings.Join(append(append(append([]string{}, before...), row...), after...), comma) + end
	}
	text := w.begin + line(w.before, w.columns(), w.after)
	for i := range pima() {
		if !w.noRows {
			text += line(w.before, w.row(i), w.after)
		}
	}
	return text
}

// objects returns the rows as JSON. Columns beside the features have their names as
// values.
func (w written) objects() (all []string) {
	for i := range pima() {
		var members []string
		names, row := w.columns(), w.row(i)
		for j := range names {
			members = append(members, fmt.Sprintf("%q: %s", names[j], row[j]))
		}
		object := "{" + strings.Join(members, ", ") + "}"
		switch id := fmt.Sprintf(`"id": %d`, i); {
		case w.wrap && w.idFirst:
			object = "{" + id + `, "data": ` + object + "}"
		case w.wrap:
			object = `{"data": ` + object + ", " + id + "}"
		default:
			for _, name := range append(append([]string{}, w.before...), w.after...) {
				object = strings.TrimSuffix(object, "}") + fmt.Sprintf(", %q: %q}", name, name)
			}
		}
		all = append(all, object)
	}
	if w.noRows {
		all = nil
	}
	return all
}

// tableOddity is an oddity of a whole table, and what becomes of it in each format.
type tableOddity struct {
	name    string
	formats string // csv ndjson json
	how     written
	flags   []string
	columns string // of a CSV output
	part    string // of a JSON output, in each row
	says    string // the error about the file, or about each row of JSON
}

func tableOddities() []tableOddity {
	const all, ours = "csv ndjson json", ",prediction,score,is_anomaly,confidence,error"
	const features = "f0,f1,f2,f3,f4,f5,f6,f7"
	copied := []string{"--extra"}
	return []tableOddity{
		{name: "nothing odd", formats: all, columns: features + ours},
		{name: "a byte-order mark", formats: all, how: written{begin: "\ufeff"}, columns: features + ours},
		{name: "CR and LF", formats: "csv", how: written{end: "\r\n"}, columns: features + ours},
		{name: "semicolons", formats: "csv", how: written{comma: ";"}, columns: strings.ReplaceAll(features+ours, ",", ";")},
		{name: "tabs", formats: "csv", how: written{comma: "\t"}, columns: strings.ReplaceAll(features+ours, ",", "\t")},
		{name: "bars", formats: "csv", how: written{comma: "|"}, columns: strings.ReplaceAll(features+ours, ",", "|")},
		{name: "a delimiter that is named", formats: "csv", how: written{comma: "|"}, flags: []string{"--delimiter", "|"}, columns: strings.ReplaceAll(features+ours, ",", "|")},
		{name: "another order", formats: all, how: written{reversed: true}, columns: "f7,f6,f5,f4,f3,f2,f1,f0" + ours},
		{name: "more columns", formats: all, how: written{before: []string{"id"}, after: []string{"note"}}, says: "is no feature of this model"},
		{name: "more columns, carried through", formats: all, how: written{before: []string{"id"}, after: []string{"note"}}, flags: copied, columns: "id," + features + ",note" + ours, part: `"note": "note"`},
		{name: "blank and repeated columns", formats: "csv", how: written{before: []string{""}, after: []string{"note", "note"}}, flags: copied, columns: "," + features + ",note,note" + ours},
		{name: "columns called like ours", formats: all, how: written{after: []string{"score", "prediction"}}, flags: copied, columns: features + ",score,prediction,prediction_2,score_2,is_anomaly,confidence,error", part: `"prediction": "prediction"`},
		{name: "a prefix", formats: "csv", how: written{after: []string{"score"}}, flags: []string{"--extra", "--prefix", "our_"}, columns: features + ",score,our_prediction,our_score,our_is_anomaly,our_confidence,our_error"},
		{name: "an id before the row", formats: "ndjson json", how: written{wrap: true, idFirst: true}, part: `"id": `},
		{name: "an id after the row", formats: "ndjson json", how: written{wrap: true}, part: `"id": `},
		{name: "a missing column", formats: "csv", how: written{without: 1}, says: `the file has no column for "f7"`},
		{name: "a missing feature", formats: "ndjson json", how: written{without: 1}, says: `"f7" is missing`},
		{name: "no rows", formats: all, how: written{noRows: true}, columns: features + ours},
	}
}

// TestTables scores each oddity of a table in all formats that can have it. All must give
// the scores of the plain table, or say the same about it.
func TestTables(t *testing.T) {
	var want []outcome
	for _, o := range tableOddities() {
		for format := range strings.FieldsSeq(o.formats) {
			text := o.how.begin + strings.Join(o.how.objects(), "\n") + "\n"
			switch format {
			case "csv":
				text = o.how.csv()
			case "json":
				text = o.how.begin + "[" + strings.Join(o.how.objects(), ",\n") + "]"
			}
			out, err := predictTable(t, format, text, o.flags...)
			what := o.name + ", " + format
			if format == "csv" && o.says != "" {
				if err == nil || strings.Count(err.Error(), o.says) != 1 {
					t.Errorf("%s: %v, want %q", what, err, o.says)
				}
				continue
			}
			if (err != nil) != (o.says != "") {
				t.Errorf("%s: %v", what, err)
			}
			got := answersOf(t, format, out, o.how.comma)
			if want == nil {
				want = got
			}
			checkTable(t, what, o, format, out, got, want)
		}
	}
}

// checkTable compares the answers to a table with those to the plain one.
func checkTable(t *testing.T, what string, o tableOddity, format, out string, got, want []outcome) {
	t.Helper()
	if header, _, _ := strings.Cut(out, "\n"); format == "csv" && header != o.columns {
		t.Errorf("%s: the columns are %q, want %q", what, header, o.columns)
	}
	if o.how.noRows {
		want = nil
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d answers, want %d:\n%s", what, len(got), len(want), out)
	}
	if n := strings.Count(out, o.part); o.part != "" && format != "csv" && n != len(want) {
		t.Errorf("%s: %s is there %d times:\n%s", what, o.part, n, out)
	}
	for i := range got {
		if o.says == "" && got[i] != want[i] || o.says != "" && !strings.Contains(got[i].err, o.says) {
			t.Errorf("%s: row %d: %v, want %v %s", what, i, got[i], want[i], o.says)
		}
	}
}

// predictTable scores a file with pima-lof and returns the output.
func predictTable(t *testing.T, format, text string, flags ...string) (string, error) {
	t.Helper()
	in := filepath.Join(t.TempDir(), "rows."+format)
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, err := command(t, nil, append([]string{"predict", "pima-lof", in, "--models", testkit.Testdata("models"), "--quiet"}, flags...)...)
	return out, err
}

func answersOf(t *testing.T, format, text, comma string) []outcome {
	t.Helper()
	switch format {
	case "csv":
		if comma == "" {
			comma = ","
		}
		return readCSV(t, text, comma)
	case "json":
		return readArray(text)
	}
	return readLines(text)
}

// TestBrokenTables checks what is lost of tables that are no tables, or whose rows are
// damaged: one row, or all with one error.
func TestBrokenTables(t *testing.T) {
	line := func(i int) string { return strings.Join(pima()[i], ",") }
	header := strings.Join(written{}.columns(), ",")
	for _, c := range []struct {
		name, format, text string
		failed             []int
		says               string
		flags              []string
	}{
		{"an empty file", "csv", "", nil, "the file is empty", nil},
		{"an empty file", "ndjson", "", nil, "", nil},
		{"an empty file", "json", "", nil, "", nil},
		{"a stray quote", "csv", header + ",note\n" + line(0) + ",5\" pipe\n" + line(1) + ",\"open\n" + line(2) + ",ok\n", []int{1}, "write a quote inside of a field twice", []string{"--extra"}},
		{"a short line", "csv", header + "\n" + line(0) + "\n1,2\n" + line(2) + "\n", []int{1}, "2 fields", nil},
		{"no JSON", "ndjson", "[" + line(0) + "]\n{\"f0\":\n[" + line(2) + "]\n", []int{1}, "", nil},
		{"values", "ndjson", "[" + line(0) + "]\n5\n[" + line(2) + "]\n", []int{1}, "neither an object of features nor an array of values", nil},
		{"an array without an end", "json", "[[" + line(0) + "],[" + line(1) + "]", nil, "the array has no end", nil},
	} {
		out, err := predictTable(t, c.format, c.text, c.flags...)
		what := c.name + ", " + c.format
		if len(c.failed) == 0 {
			if (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want %q", what, err, c.says)
			}
			continue
		}
		got := answersOf(t, c.format, out, "")
		if len(got) != len(pima()) {
			t.Errorf("%s: %d answers:\n%s", what, len(got), out)
			continue
		}
		for i, a := range got {
			if (a.err != "") != (i == c.failed[0]) || a.err != "" && !strings.Contains(a.err, c.says) {
				t.Errorf("%s: row %d: %v", what, i, a)
			}
		}
	}
}

// TestTrainingDoors checks that training rows in all formats, with what is odd about their
// files, make the same model.
func TestTrainingDoors(t *testing.T) {
	dir := t.TempDir()
	header, csv, objects := "f0,f1,f2,f3,f4,f5,f6,f7", "", []string{}
	for i := range 60 {
		row := make([]string, 8)
		var members []string
		for j := range row {
			row[j] = fmt.Sprint((i*(j+3)*7)%(11+j) + j)
			members = append(members, fmt.Sprintf("\"f%d\": %s", j, row[j]))
		}
		csv += strings.Join(row, ",") + "\n"
		objects = append(objects, "{"+strings.Join(members, ", ")+"}")
	}
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	csv = header + "\n" + csv
	files := []string{
		write("train.csv", csv), write("mark.csv", "\ufeff"+csv), write("lines.csv", strings.ReplaceAll(csv, "\n", "\r\n")), write("semicolons.csv", strings.ReplaceAll(csv, ",", ";")),
		write("train.ndjson", strings.Join(objects, "\n")), write("mark.ndjson", "\ufeff"+strings.Join(objects, "\n")+"\n"), write("train.json", "["+strings.Join(objects, ",")+"]"),
		filepath.Join(dir, "train.parquet"),
	}
	if _, errs, err := command(t, nil, "predict", "pima-lof", files[0], "--models", testkit.Testdata("models"), "--quiet", "-o", files[len(files)-1]); err != nil {
		t.Fatalf("%v: %s", err, errs)
	}
	graph := filepath.Join(testkit.Testdata("models", "pima-lof", "1.0.0"), "model.onnx")
	ours := []string{"--exclude", "prediction,score,is_anomaly,confidence,error"}
	for _, how := range [][]string{{"init", graph, "--orientation", "higher_is_normal", "--train"}, {"fit", "iforest", "--seed", "1", "--data"}} {
		var first map[string]string
		for _, file := range files {
			models := t.TempDir()
			args := append(append([]string{"model"}, how...), file, "--id", "m", "--models", models, "--contamination", "0.1")
			if strings.HasSuffix(file, ".parquet") {
				args = append(args, ours...)
			}
			if _, errs, err := command(t, nil, args...); err != nil {
				t.Errorf("%s %s: %v: %s", how[0], filepath.Base(file), err, errs)
				continue
			}
			made := filesOf(t, filepath.Join(models, "m", "1.0.0"))
			if first == nil {
				first = made
			}
			for name := range first {
				if made[name] != first[name] {
					t.Errorf("%s %s: another %s than from CSV", how[0], filepath.Base(file), name)
				}
			}
			if len(made) != len(first) {
				t.Errorf("%s %s: %d files", how[0], filepath.Base(file), len(made))
			}
		}
	}
}

// filesOf returns the contents of a directory's files.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(text)
	}
	return out
}

// TestFlatRow checks that a row without brackets of its own is one error of a batch, and
// that one value among rows is an error of its row.
func TestFlatRow(t *testing.T) {
	models := t.TempDir()
	testkit.CopyModel(t, models, "pima-lof", "pima-lof", "1.0.0", nil)
	address, stop := startServe(t, "--port", "0", "--models", models, "--state-dir", stateForTests(t))
	defer stop()
	d := &doors{t: t, address: address}
	row := strings.Join(pima()[0], ",")
	ask := func(data string) string {
		return string(d.post("/api/v1/predict/batch", `{"model_id":"pima-lof","data":`+data+`}`))
	}
	if got := ask("[" + row + "]"); !strings.Contains(got, `"error_type":"ValidationError"`) || !strings.Contains(got, "each an object or an array") {
		t.Errorf("a flat row: %s", got)
	}
	var b struct {
		Predictions []json.RawMessage
		Failed      int `json:"total_failed"`
	}
	if got := ask("[[" + row + "],5]"); json.Unmarshal([]byte(got), &b) != nil || len(b.Predictions) != 2 || b.Failed != 1 {
		t.Errorf("a value among rows: %s", got)
	}
}
