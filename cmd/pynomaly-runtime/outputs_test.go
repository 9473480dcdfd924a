package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// described is a graph that needs an entry in model.yaml, its rows and their scores.
type described struct {
	Features []struct {
		Name  string `json:"name"`
		DType string `json:"dtype"`
		Input string `json:"input,omitempty"`
	} `json:"features"`
	Output json.RawMessage     `json:"output"`
	Rows   [][]json.RawMessage `json:"rows"`
	Scores []float64           `json:"scores"`
}

// object returns a row as an object of JSON.
func (d *described) object(i int) string {
	members := make([]string, len(d.Features))
	for j, f := range d.Features {
		name, _ := json.Marshal(f.Name)
		members[j] = string(name) + ":" + string(d.Rows[i][j])
	}
	return "{" + strings.Join(members, ",") + "}"
}

// csv returns all rows as CSV.
func (d *described) csv() string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	var fields []string
	for _, f := range d.Features {
		fields = append(fields, f.Name)
	}
	_ = w.Write(fields)
	for _, row := range d.Rows {
		for j, v := range row {
			fields[j] = strings.Trim(string(v), `"`)
		}
		_ = w.Write(fields)
	}
	w.Flush()
	return b.String()
}

// files returns the model's directory, with the expected scores as those of golden rows.
func (d *described) files(t *testing.T, id string) map[string][]byte {
	t.Helper()
	features, err := json.Marshal(d.Features)
	if err != nil {
		t.Fatal(err)
	}
	var golden strings.Builder
	for i, score := range d.Scores {
		fmt.Fprintf(&golden, "{\"data\": %s, \"score\": %v}\n", d.object(i), score)
	}
	graph, err := os.ReadFile(testkit.Testdata("outputs", id+".onnx"))
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("apiVersion: pynomaly.io/v1\nkind: Model\nid: %s\nversion: 1.0.0\nartifact: model.onnx\nfeatures: %s\noutput: %s\ngolden: {rows: golden.ndjson}\n", id, features, d.Output)
	return map[string][]byte{"model.yaml": []byte(testkit.Patient(text)), "model.onnx": graph, "golden.ndjson": []byte(golden.String())}
}

// TestOutputDoors: rows of graphs with several values per row, or with inputs of other
// names, have the same scores through every interface: alone, in a batch, merged with
// others' rows, and from files. The expected scores come from Python.
func TestOutputDoors(t *testing.T) {
	files, err := filepath.Glob(testkit.Testdata("outputs", "*.json"))
	if err != nil || len(files) < 10 {
		t.Fatal(len(files), err)
	}
	models, all := t.TempDir(), map[string]*described{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		d := &described{}
		if err == nil {
			err = json.Unmarshal(data, d)
		}
		if err != nil {
			t.Fatal(err)
		}
		id := strings.TrimSuffix(filepath.Base(file), ".json")
		all[id] = d
		testkit.WriteModel(t, models, id, d.files(t, id))
	}
	p := startProcess(t, "deploy", "serve", "--port", "0", "--models", models, "--state-dir", stateForTests(t))
	p.next(`"message":"serving"`)
	host := &doors{t: t, models: models, address: p.address}
	for id, d := range all {
		single := func(i int) outcome {
			return answer(host.post("/api/v1/predict", fmt.Sprintf(`{"model_id":%q,"data":%s}`, id, d.object(i))))
		}
		testkit.Eventually(t, id+" answers", func() bool { return single(0).err == "" })
		want := make([]outcome, len(d.Rows))
		for i := range want {
			want[i] = single(i)
			if want[i].err != "" || math.Abs(want[i].score-d.Scores[i]) > 1e-6*max(1, math.Abs(d.Scores[i])) {
				t.Errorf("%s: row %d: %v, want %v", id, i, want[i], d.Scores[i])
			}
		}
		for door, got := range outputDoors(t, host, id, d, single) {
			for i := range want {
				if i >= len(got) || got[i] != want[i] {
					t.Errorf("%s: %s: row %d: %v of %d rows, alone %v", id, door, i, got[min(i, len(got)-1)], len(got), want[i])
					break
				}
			}
		}
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.end()
}

// outputDoors returns the answers to all rows, by the way that they are asked for.
func outputDoors(t *testing.T, host *doors, id string, d *described, single func(int) outcome) map[string][]outcome {
	t.Helper()
	got := map[string][]outcome{}
	var objects []string
	for i := range d.Rows {
		objects = append(objects, d.object(i))
	}
	var b struct{ Predictions []json.RawMessage }
	if err := json.Unmarshal(host.post("/api/v1/predict/batch", fmt.Sprintf(`{"model_id":%q,"data":[%s]}`, id, strings.Join(objects, ","))), &b); err != nil {
		t.Fatal(err)
	}
	for _, text := range b.Predictions {
		got["batch"] = append(got["batch"], answer(text))
	}
	merged := make([]outcome, len(d.Rows))
	var wg sync.WaitGroup
	for i := range merged {
		wg.Go(func() { merged[i] = single(i) })
	}
	wg.Wait()
	got["at once"] = merged
	c := host.dial()
	defer c.Close()
	for _, row := range objects {
		got["WebSocket"] = append(got["WebSocket"], host.message(c, id, row))
	}
	maps.Copy(got, fileDoors(t, host.models, id, d.csv(), objects))
	return got
}

// fileDoors returns the answers to the rows of files. Those of Parquet are the rows of CSV,
// converted.
func fileDoors(t *testing.T, models, id, csv string, objects []string) map[string][]outcome {
	t.Helper()
	dir := t.TempDir()
	score := func(in, out string) string {
		out = filepath.Join(dir, out)
		if _, errs, err := command(t, nil, "predict", id, filepath.Join(dir, in), "-o", out, "--models", models, "--batch-size", "7", "--extra"); err != nil {
			t.Fatalf("%v: %s", err, errs)
		}
		scored, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return string(scored)
	}
	for name, text := range map[string]string{"rows.csv": csv, "rows.ndjson": strings.Join(objects, "\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	score("rows.csv", "rows.parquet")
	return map[string][]outcome{
		"CSV": readCSV(t, score("rows.csv", "out.csv"), ","), "NDJSON": readLines(score("rows.ndjson", "out.ndjson")),
		"Parquet": readCSV(t, score("rows.parquet", "again.csv"), ","),
	}
}
