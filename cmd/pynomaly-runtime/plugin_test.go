package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/plugins"
)

// TestPluginCommands goes from nothing to a served model.
func TestPluginCommands(t *testing.T) {
	dir := t.TempDir()
	project, models := filepath.Join(dir, "mine"), filepath.Join(dir, "models")
	run := func(want string, args ...string) {
		t.Helper()
		out, errs, err := installed(t, args...)
		if err != nil || !strings.Contains(out, want) {
			t.Fatalf("%v: %v\n%s%s", args, err, out, errs)
		}
	}
	run("wrote "+project, "plugin", "new", "--lang", "go", "--dir", project, "mine")
	if _, _, err := installed(t, "plugin", "test", project); err == nil || !strings.Contains(err.Error(), "run `plugin build` first") {
		t.Errorf("%v", err)
	}
	run("built", "plugin", "build", project)
	module, err := os.ReadFile(filepath.Join(project, "model", "detector.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	testkit.Precompile(t, module)
	run("the plugin conforms", "plugin", "test", project, "--calls", "300")
	run("threshold ", "model", "calibrate", project, "--train", testkit.Testdata("reference", "data", "pima-train.csv"), "--contamination", "0.05")
	run("rows/s", "plugin", "bench", project, "--duration", "1ms")
	run("wrote "+filepath.Join(models, "mine", "1.0.0"), "plugin", "pack", project, "--models", models)
	run("wrote "+filepath.Join(models, "other", "2.0.0-rc.1"), "plugin", "pack", project, "--id", "other", "--version", "2.0.0-rc.1", "--models", models)
	run("2 of 2 models can be served", "model", "verify", models)
	for want, args := range map[string][]string{
		"choose one of":           {"plugin", "new", "--lang", "cobol", "--dir", filepath.Join(dir, "x"), "x"},
		"choose another name":     {"plugin", "new", "--dir", project, "mine"},
		"not a plugin project":    {"plugin", "build", dir},
		"exists already":          {"plugin", "pack", project, "--models", models},
		`the id "-" is not valid`: {"plugin", "pack", project, "--id", "-", "--models", models},
		"holds 2 models":          {"plugin", "test", models},
		"no such file":            {"plugin", "test", filepath.Join(dir, "nothing")},
		"there is no detecto":     {"model", "fit", "svm", "--data", "x.csv", "--id", "x"},
	} {
		if _, _, err := installed(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
	// A module that does not conform fails, and is told from a mistake in the call.
	if err := os.WriteFile(filepath.Join(project, "model", "detector.wasm"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := installed(t, "plugin", "test", project); err == nil || !strings.Contains(err.Error(), "does not begin") {
		t.Errorf("%v", err)
	}
}

// TestProcessPluginCommands goes from nothing to a served model for a program in Go
// and one in Python, for which it makes an interpreter with the program's
// requirements.
func TestProcessPluginCommands(t *testing.T) {
	for language, want := range map[string]string{"go": "model/detector", "python": "model/detector.py"} {
		t.Run(language, func(t *testing.T) {
			t.Parallel() // much of it is waiting
			dir := t.TempDir()
			project, models := filepath.Join(dir, "mine"), filepath.Join(dir, "models")
			run := func(want string, args ...string) {
				t.Helper()
				out, errs, err := installed(t, args...)
				if err != nil || !strings.Contains(out, want) {
					t.Fatalf("%v: %v\n%s%s", args, err, out, errs)
				}
			}
			run("wrote "+project, "plugin", "new", "--process", "--lang", language, "--dir", project, "mine")
			if _, _, err := installed(t, "plugin", "test", project); err == nil || !strings.Contains(err.Error(), "run `plugin build` first") {
				t.Errorf("%v", err)
			}
			run("built "+filepath.Join(project, want), "plugin", "build", project)
			run("the plugin conforms", "plugin", "test", project, "--calls", "200")
			run("wrote "+filepath.Join(models, "mine", "1.0.0"), "plugin", "pack", project, "--models", models)
			// A host runs the program only once it is allowed.
			out, _, err := installed(t, "model", "verify", models)
			if err == nil || !strings.Contains(out, "switch it on under backends in plugins.yaml") {
				t.Errorf("%v: %s", err, out)
			}
			user := ""
			if os.Geteuid() == 0 {
				user = "root" // the interpreter may be in root's own folder
			}
			file := filepath.Join(dir, "plugins.yaml")
			text := fmt.Sprintf("backends: {process: {enabled: true, user: %q, allow: [{path: %s}]}}\n", user, models)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			run("1 of 1 models can be served", "model", "verify", models, "--config", file)
			address, stop := startReal(t, "--config", file, "--models", models, "--port", "0", "--drain", "0s", "--state-dir", t.TempDir())
			defer stop()
			answer := fetch(t, "http://"+address+"/api/v1/predict", "POST", `{"model_id": "mine", "data": [8, 155, 62, 26, 495, 34, 0.543, 46], "return_explanation": true}`)
			if !strings.Contains(answer, `"is_anomaly":true`) || !strings.Contains(answer, `"contributions"`) {
				t.Error(answer)
			}
		})
	}
}

// TestFit fits each reference detector to a CSV file and serves it. ECOD, COPOD and
// HBOS give PyOD's scores.
func TestFit(t *testing.T) {
	dir, modules := t.TempDir(), t.TempDir()
	for _, r := range plugins.All() {
		if err := os.WriteFile(filepath.Join(modules, r.Name+".wasm"), testkit.Detector(t, r.Name), 0o600); err != nil {
			t.Fatal(err)
		}
		out, errs, err := installed(t, "model", "fit", r.Name, "--data", testkit.Testdata("reference", "data", "pima-train.csv"), "--id", "pima-"+r.Name,
			"--models", dir, "--detectors", modules, "--contamination", "0.2", "--window", "100", "--compat", "pyod")
		if err != nil || !strings.Contains(out, "fitted to 460 rows of 8 features") {
			t.Fatalf("%v\n%s%s", err, out, errs)
		}
		if bins, err := os.ReadFile(filepath.Join(dir, "pima-"+r.Name, "1.0.0", "drift.yaml")); err != nil || !bytes.HasPrefix(bins, []byte("score: {edges: [")) {
			t.Errorf("%s has no bins of its training scores: %s, %v", r.Name, bins, err)
		}
	}
	out, _, err := installed(t, "model", "verify", dir)
	if err != nil || !strings.Contains(out, "4 of 4 models can be served") {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, r := range plugins.All() {
		scores := predictions(t, dir, "pima-"+r.Name)
		if !r.Explains {
			for i, v := range scores {
				if v < 0 || v > 1 {
					t.Errorf("%s: row %d scored %v", r.Name, i, v)
				}
			}
			continue
		}
		var want struct{ Rows []struct{ Score float64 } }
		text, err := os.ReadFile(testkit.Testdata("reference", r.Name+"-pima.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		for i, row := range want.Rows {
			if math.Abs(scores[i]-row.Score) > 1e-9*math.Abs(row.Score) {
				t.Errorf("%s: row %d scored %v, want %v", r.Name, i, scores[i], row.Score)
			}
		}
	}
	checkServed(t, dir)
}

// predictions returns the scores of pima's test rows by the command line.
func predictions(t *testing.T, models, id string) []float64 {
	t.Helper()
	file := filepath.Join(t.TempDir(), "out.csv")
	if _, errs, err := installed(t, "predict", id, testkit.Testdata("reference", "data", "pima-test.csv"), "-o", file, "--models", models); err != nil {
		t.Fatalf("%v\n%s", err, errs)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var scores []float64
	for _, record := range all[1:] {
		for j, name := range all[0] {
			if name == "score" {
				v, err := strconv.ParseFloat(record[j], 64)
				if err != nil {
					t.Fatal(err)
				}
				scores = append(scores, v)
			}
		}
	}
	if len(scores) != len(all)-1 {
		t.Fatalf("%d scores of %d rows", len(scores), len(all)-1)
	}
	return scores
}

// checkServed serves fitted models. Explanations must add up, and a streaming model
// must learn from requests and on request, and keep what it has learned over a
// restart.
func checkServed(t *testing.T, dir string) {
	t.Helper()
	state := t.TempDir()
	const row = `[8, 155, 62, 26, 495, 34, 0.543, 46]`
	score := func(address string) float64 {
		var p api.Prediction
		text := fetch(t, "http://"+address+"/api/v1/predict", "POST", `{"model_id": "pima-hstrees", "data": `+row+`}`)
		if err := json.Unmarshal([]byte(text), &p); err != nil || p.ModelID == "" {
			t.Fatalf("%v: %s", err, text)
		}
		return p.Score
	}
	serve := []string{"--models", dir, "--port", "0", "--drain", "0s", "--state-dir", state, "--wasm-cache-dir", testkit.WASMCache()}
	address, stop := startReal(t, serve...)
	for _, id := range []string{"pima-ecod", "pima-copod", "pima-hbos"} {
		var p api.Prediction
		text := fetch(t, "http://"+address+"/api/v1/predict", "POST", `{"model_id": "`+id+`", "data": `+row+`, "return_explanation": true}`)
		if err := json.Unmarshal([]byte(text), &p); err != nil || p.Explanation == nil || p.Explanation.Method != "native" || !p.Explanation.Additive {
			t.Fatalf("%s: %v\n%s", id, err, text)
		}
	}
	first := score(address)
	var many []string
	for range 150 { // more than a window of rows like this one
		many = append(many, row)
	}
	text := fetch(t, "http://"+address+"/api/v1/models/pima-hstrees/learn", "POST", `{"data": [`+strings.Join(many, ",")+`]}`)
	if !strings.Contains(text, `"rows":150`) {
		t.Fatalf("learning: %s", text)
	}
	learned := score(address)
	if !(learned < first) {
		t.Errorf("a row that was learned 150 times scores %v, before %v", learned, first)
	}
	stop()
	address, stop = startReal(t, serve...)
	defer stop()
	if again := score(address); math.Abs(again-learned) > 0.05 || again >= first {
		t.Errorf("after a restart %v, before it %v", again, learned)
	}
	if warnings := fetch(t, "http://"+address+"/api/v1/models/pima-hstrees", "GET", ""); strings.Contains(warnings, "started empty") {
		t.Errorf("the state was lost: %s", warnings)
	}
}

// TestFitRefusals checks that the error names what cannot be fitted.
func TestFitRefusals(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) string {
		file := filepath.Join(dir, fmt.Sprintf("%d.csv", len(text)))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	good := "a,b,label\n" + strings.Repeat("1,2,0\n3,1,1\n", 10)
	for _, name := range []string{"ecod.wasm", "hbos.wasm"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("nonsense"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for want, args := range map[string][]string{
		"run `make build`":        {"ecod", "--data", write(good), "--id", "x", "--detectors", t.TempDir()},
		"no such file":            {"ecod", "--data", filepath.Join(dir, "none.csv"), "--id", "x", "--detectors", dir},
		"such as x-y":             {"ecod", "--data", write(good), "--id", "x y", "--detectors", dir},
		"--contamination":         {"ecod", "--data", write(good), "--id", "x", "--contamination", "0.6", "--detectors", dir},
		"above 0 and at most":     {"ecod", "--data", write(good), "--id", "x", "--contamination", "nan", "--detectors", dir},
		"the spaces around":       {"ecod", "--data", write("a, b\n" + strings.Repeat("1,2\n", 14)), "--id", "x", "--detectors", dir},
		"cannot be distinguished": {"hbos", "--data", write("a\n" + strings.Repeat("1e308\n-1e308\n", 12)), "--id", "x", "--detectors", dir},
		`--exclude names "c"`:     {"ecod", "--data", write(good), "--id", "x", "--exclude", "c", "--detectors", dir},
		"no column that is":       {"ecod", "--data", write(good), "--id", "x", "--exclude", "a,b,label", "--detectors", dir},
		"at least 10 are needed":  {"ecod", "--data", write("a\n1\n2\n"), "--id", "x", "--detectors", dir},
		"row 2":                   {"ecod", "--data", write("a,b\n1,2\n1,x\n" + strings.Repeat("1,2\n", 20)), "--id", "x", "--detectors", dir},
		"the name of column 2":    {"ecod", "--data", write("a,\n" + strings.Repeat("1,2\n", 11)), "--id", "x", "--detectors", dir},
		`column 1 is "a\xff"`:     {"ecod", "--data", write("a\xff,b\n" + strings.Repeat("1,2\n", 12)), "--id", "x", "--detectors", dir},
		"does not begin":          {"ecod", "--data", write(good), "--id", "x", "--exclude", "label", "--detectors", dir},
		`required flag(s) "data"`: {"ecod"},
		"--id is missing":         {"ecod", "--data", write(good)},
		"2 detectors are named":   {"ecod", "hbos", "--data", write(good), "--id", "x"},
		"reading --labels":        {"iforest", "--data", write(good), "--compare", "--labels", "a"},
	} {
		_, _, err := command(t, nil, append([]string{"model", "fit", "--models", filepath.Join(dir, "models")}, args...)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "models")); err == nil && len(entries) > 0 {
		t.Errorf("something was written: %v", entries)
	}
}
