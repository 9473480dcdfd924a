package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// TestMain lets the test binary act as the command.
func TestMain(m *testing.M) {
	if os.Getenv("BE_PYNOMALY_RUNTIME") != "" {
		main()
		os.Exit(0)
	}
	testkit.Main(m, func() { _ = os.RemoveAll(stateDirForTests()) }, func() { _ = os.Remove(realBinaryFile()) })
}

// command runs a command line and returns what it prints.
func command(t testing.TB, in io.Reader, args ...string) (out, errs string, err error) {
	t.Helper()
	t.Setenv("PYNOMALY_BACKENDS_ONNX_LIBRARY", testkit.Library())
	t.Setenv("PYNOMALY_STATE_DIR", stateForTests(t))
	t.Setenv("PYNOMALY_BACKENDS_WASM_CACHE_DIR", testkit.WASMCache())
	var o, e bytes.Buffer
	cmd := newCommand(in, &o, &e)
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return o.String(), e.String(), err
}

func stateDirForTests() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("pynomaly-runtime-tests-%d", os.Getpid()))
}

// stateForTests returns a shared directory, so that each model is checked once.
func stateForTests(t testing.TB) string {
	t.Helper()
	dir := stateDirForTests()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// predicted reads the columns that predict has added.
func predicted(t *testing.T, format, file string) []testkit.Answer {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []testkit.Answer
	number := func(s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	switch format {
	case "csv":
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		for _, line := range lines[1:] {
			f := strings.Split(line, ",")
			f = f[len(f)-5:]
			out = append(out, testkit.Answer{Prediction: number(f[0]), Score: number(f[1]), Anomaly: f[2] == "true", Confidence: number(f[3])})
		}
	case "ndjson":
		for line := range bytes.Lines(data) {
			var a struct {
				Prediction, Score, Confidence float64
				Anomaly                       bool `json:"is_anomaly"`
			}
			if err := json.Unmarshal(line, &a); err != nil {
				t.Fatal(err)
			}
			out = append(out, testkit.Answer{Prediction: a.Prediction, Score: a.Score, Anomaly: a.Anomaly, Confidence: a.Confidence})
		}
	case "parquet":
		type row struct {
			Prediction float64 `parquet:"prediction,optional"`
			Score      float64 `parquet:"score,optional"`
			Anomaly    bool    `parquet:"is_anomaly,optional"`
			Confidence float64 `parquet:"confidence,optional"`
		}
		rows, err := parquet.Read[row](bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			out = append(out, testkit.Answer{Prediction: r.Prediction, Score: r.Score, Anomaly: r.Anomaly, Confidence: r.Confidence})
		}
	}
	return out
}

// write writes the rows of a case to a file of a format.
func write(t *testing.T, c *testkit.Case, format, file string) {
	t.Helper()
	var b bytes.Buffer
	switch format {
	case "csv":
		b.WriteString(strings.Join(c.Header, ",") + "\n")
		for _, r := range c.Text {
			b.WriteString(strings.Join(r, ",") + "\n")
		}
	case "ndjson":
		for _, r := range c.Rows {
			line, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(line, '\n'))
		}
	case "parquet":
		group := parquet.Group{}
		for _, f := range c.Facts.Features {
			switch f.DType {
			case "string":
				group[f.Name] = parquet.String()
			case "int64":
				group[f.Name] = parquet.Leaf(parquet.Int64Type)
			default:
				group[f.Name] = parquet.Leaf(parquet.DoubleType)
			}
		}
		w := parquet.NewGenericWriter[map[string]any](&b, parquet.NewSchema("rows", group))
		for _, r := range c.Rows {
			row := map[string]any{}
			for _, f := range c.Facts.Features {
				switch v := r[f.Name].(type) {
				case json.Number:
					x, err := v.Float64()
					if err != nil {
						t.Fatal(err)
					}
					row[f.Name] = x
					if f.DType == "int64" {
						row[f.Name] = int64(x)
					}
				default:
					row[f.Name] = v
				}
			}
			if _, err := w.Write([]map[string]any{row}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestPredictCases scores the rows of every case from a file, in every format and
// under each calibration.
func TestPredictCases(t *testing.T) {
	dir := t.TempDir()
	for _, c := range testkit.Cases(t) {
		for format, method := range map[string]string{"csv": "linear", "ndjson": "unify", "parquet": "ecdf"} {
			t.Run(c.Name+"/"+format, func(t *testing.T) {
				model := testkit.CopyModel(t, dir, c.Name, c.Name, "1.0.0", testkit.WithCalibration(method))
				in, out := filepath.Join(dir, "in."+format), filepath.Join(dir, "out."+format)
				write(t, c, format, in)
				_, errs, err := installed(t, "predict", model, in, "-o", out, "--batch-size", "37")
				if err != nil {
					t.Fatalf("%v: %s", err, errs)
				}
				got := predicted(t, format, out)
				if len(got) != len(c.Rows) || !strings.Contains(errs, fmt.Sprintf("%d rows scored, 0 failed", len(got))) {
					t.Fatalf("%d of %d rows: %s", len(got), len(c.Rows), errs)
				}
				for i, a := range got {
					if err := c.Check(i, method, a); err != nil {
						t.Errorf("row %d: %v", i, err)
					}
				}
			})
		}
	}
}

// TestPredictPipe checks standard input and output, the errors of bad rows in their
// places, and exit code 2.
func TestPredictPipe(t *testing.T) {
	in := "f0,f1,f2,f3,f4,f5,f6,f7\n8,155,62,26,495,34,0.543,46\n8,x,62,26,495,34,0.543,46\n"
	out, errs, err := command(t, strings.NewReader(in), "predict", "pima-lof", "-", "--format", "csv", "--models", testkit.Testdata("models"))
	var code exitError
	if !errors.As(err, &code) || code != rowsFailed {
		t.Fatalf("%v: %s", err, errs)
	}
	lines := strings.Split(out, "\n")
	if !strings.HasPrefix(lines[1], "8,155,62,26,495,34,0.543,46,0.96") || !strings.Contains(lines[2], `feature ""f1"" is ""x""`) {
		t.Errorf("%s", out)
	}
	for name, args := range map[string][]string{
		"unknown feature": {"predict", "pima-lof", "-", "--format", "csv"},
		"unknown format":  {"predict", "pima-lof", "-"},
		"no such model":   {"predict", "none", "-", "--format", "csv"},
		"no such version": {"predict", "pima-lof@9.0.0", "-", "--format", "csv"},
		"no such file":    {"predict", "pima-lof", "/does/not/exist.csv"},
		"no batch":        {"predict", "pima-lof", "-", "--format", "csv", "--batch-size", "0"},
	} {
		if _, _, err := command(t, strings.NewReader("zzz\n1\n"), append(args, "--models", testkit.Testdata("models"))...); err == nil || errors.As(err, &code) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestModelCommands(t *testing.T) {
	models := testkit.Testdata("models")
	out, _, err := command(t, nil, "model", "list", "--models", models)
	if err != nil || !strings.Contains(out, "cardio-iforest-fused") || strings.Count(out, "available") != 10 {
		t.Errorf("list: %v\n%s", err, out)
	}
	out, _, err = command(t, nil, "model", "list", "--json", "--models", models)
	var list struct{ Total int }
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || list.Total != 10 {
		t.Errorf("list --json: %v\n%s", err, out)
	}
	out, errs, err := installed(t, "model", "verify", models)
	if err != nil || !strings.Contains(out, "10 of 10 models can be served") {
		t.Errorf("verify: %v\n%s%s", err, out, errs)
	}
	out, _, err = command(t, nil, "model", "verify", filepath.Join(models, "pima-lof"))
	if err != nil || !strings.Contains(out, "1 of 1 models can be served") {
		t.Errorf("verify of one model: %v\n%s", err, out)
	}
	elsewhere := testkit.CopyModel(t, t.TempDir(), "pima-lof", "pima-lof", "1.0.0", nil)
	wrong := filepath.Join(filepath.Dir(elsewhere), "9.9.9")
	if err := os.Rename(elsewhere, wrong); err != nil {
		t.Fatal(err)
	}
	if out, _, err := command(t, nil, "model", "verify", wrong); err == nil || !strings.Contains(out, "says version 1.0.0, but stands in 9.9.9") {
		t.Errorf("verify under another version: %v\n%s", err, out)
	}
	out, _, err = command(t, nil, "model", "verify", testkit.Testdata("bad"))
	var code exitError
	if !errors.As(err, &code) || code != 1 || !strings.Contains(out, "FAIL  truncated.onnx: ") {
		t.Errorf("verify of broken models: %v\n%s", err, out)
	}
	out, _, err = command(t, nil, "model", "inspect", testkit.Testdata("variants", "plain-sum.onnx"))
	if err != nil || !strings.HasPrefix(out, "# derived from plain-sum.onnx\n") {
		t.Errorf("inspect: %v\n%s", err, out)
	}
	if _, err := manifest.Decode([]byte(out)); err != nil {
		t.Errorf("what inspect prints is no manifest: %v", err)
	}
	out, _, err = command(t, nil, "model", "schema")
	if err != nil || !json.Valid([]byte(out)) {
		t.Errorf("schema: %v", err)
	}
	out, _, err = command(t, nil, "version")
	if err != nil || !strings.HasPrefix(out, "pynomaly-runtime ") {
		t.Errorf("version: %v %s", err, out)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out, _, err = command(t, nil, "completion", shell); err != nil || !strings.Contains(out, "pynomaly-runtime") {
			t.Errorf("completion %s: %v", shell, err)
		}
	}
	if _, _, err := command(t, nil, "serve", "--prot", "1"); err == nil || !strings.Contains(err.Error(), "prot") {
		t.Errorf("an unknown flag: %v", err)
	}
}

// TestServe runs the real command: it serves, follows its configuration with
// --reload, and ends in order on SIGTERM after it has answered all requests.
func TestServe(t *testing.T) {
	dir, models := t.TempDir(), t.TempDir()
	testkit.CopyModel(t, models, "pima-lof", "pima-lof", "1.0.0", nil)
	config := filepath.Join(dir, "plugins.yaml")
	writeConfig := func(level string) {
		t.Helper()
		text := fmt.Sprintf("server: {port: 0, drain: 300ms}\nmodels:\n  dir: %q\n  rescan: 1s\n  aliases: {pima-lof: {names: {stable: 1.0.0}}}\nlog: {level: %s}\nstate_dir: %q\n", models, level, stateForTests(t))
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writeConfig("info")
	p := startProcess(t, "deploy", "serve", "--config", config, "--reload")
	p.next(`"message":"serving"`)
	ask := func() error {
		body := `{"model_id":"pima-lof","version":"stable","data":[8,155,62,26,495,34,0.543,46]}`
		resp, err := http.Post("http://"+p.address+"/api/v1/predict", "application/json", strings.NewReader(body))
		if err != nil {
			return err
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d: %s", resp.StatusCode, text)
		}
		return err
	}
	testkit.Eventually(t, "the alias answers", func() bool { return ask() == nil })
	p.next(`"message":"prediction"`)
	writeConfig("debug")
	p.next(`"message":"configuration reloaded"`)
	writeConfig("loud") // refused: the host goes on with what it has
	p.next("log.level")
	if err := ask(); err != nil {
		t.Errorf("after a bad configuration: %v", err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.next(`"message":"stopping"`)
	if err := ask(); err != nil {
		t.Errorf("while draining: %v", err)
	}
	p.next(`"message":"stopped"`)
	p.end()
}
