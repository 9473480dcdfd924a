package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestWarningsAtEveryDoor: what is odd about a model is said by the models API, and in
// the same words by every command that opens it.
func TestWarningsAtEveryDoor(t *testing.T) {
	models, dir := t.TempDir(), t.TempDir()
	testkit.CopyFile(t, testkit.Testdata("variants", "plain-sum.onnx"), filepath.Join(models, "bare.onnx"))
	testkit.CopyFile(t, testkit.Testdata("bad", "nan-output.onnx"), filepath.Join(models, "odd.onnx"))
	graph, err := os.ReadFile(testkit.Testdata("variants", "plain-sum.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	testkit.WriteModel(t, models, "greedy", map[string][]byte{"model.onnx": graph, "model.yaml": []byte("apiVersion: pynomaly.io/v1\nkind: Model\nid: greedy\nversion: 1.0.0\nartifact: model.onnx\n" +
		"output: {name: score, orientation: higher_is_anomalous}\nthreshold: 1\ntrusted: true\nlimits: {timeout: 1h}\n")})
	rows := filepath.Join(dir, "rows.csv")
	if err := os.WriteFile(rows, []byte("f0,f1,f2,f3\n1,2,3,4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, "deploy", "serve", "--port", "0", "--models", models, "--state-dir", stateForTests(t))
	p.next(`"message":"serving"`)
	const threshold = "there is no threshold, so no row is an anomaly, and the output's name"
	for _, c := range []struct {
		id, path string
		want     []string
		init     []string // what init says of the version that it makes
	}{
		{"bare", "bare.onnx", []string{threshold}, []string{"the manifest has no threshold, so no row is called an anomaly"}},
		{"odd", "odd.onnx", []string{threshold, "3 of 4 made-up rows scored NaN or infinity"}, []string{"3 of 4 made-up rows scored NaN or infinity"}},
		{"greedy", "greedy/1.0.0", []string{"limits.timeout asks for 1h0m0s; this host allows 5m0s", "the manifest asks to be trusted"}, nil},
	} {
		path := filepath.Join(models, c.path)
		said := map[string]string{}
		testkit.Eventually(t, c.id+" is loaded", func() bool {
			said["the models API"] = apiWarnings(t, p.address, c.id)
			return said["the models API"] != ""
		})
		for door, args := range map[string][]string{
			"model verify":   {"model", "verify", path},
			"model inspect":  {"model", "inspect", path},
			"predict":        {"predict", path, rows, "-o", filepath.Join(dir, "out.csv")},
			"predict --host": {"predict", c.id, rows, "-o", filepath.Join(dir, "out.csv"), "--host", "http://" + p.address},
		} {
			out, errs, err := command(t, nil, args...)
			if err != nil && !strings.Contains(err.Error(), "2") { // the row may score NaN
				t.Fatalf("%s %s: %v", door, c.id, err)
			}
			said[door] = out + errs
		}
		for door, text := range said {
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("%s does not say of %s: %q, but\n%s", door, c.id, want, text)
				}
			}
		}
		if _, errs, _ := command(t, nil, "predict", path, rows, "-o", filepath.Join(dir, "out.csv"), "--quiet"); errs != "" {
			t.Errorf("predict --quiet says %q", errs)
		}
		args := []string{"model", "init", path, "--orientation", "higher_is_anomalous", "--models", filepath.Join(dir, "models")}
		if c.id == "greedy" {
			c.init = c.want
			copied := filepath.Join(dir, "models", "greedy", "1.0.0")
			if err := os.CopyFS(copied, os.DirFS(path)); err != nil {
				t.Fatal(err)
			}
			args = []string{"model", "init", copied}
		}
		out, errs, err := command(t, nil, args...)
		if err != nil {
			t.Fatalf("init: %v: %s", err, errs)
		}
		for _, want := range c.init {
			if !strings.Contains(out, "warning: "+want) {
				t.Errorf("init does not say of %s: %q, but\n%s", c.id, want, out)
			}
		}
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.end()
}

// apiWarnings returns the warnings of a loaded version, a line each.
func apiWarnings(t *testing.T, address, id string) string {
	t.Helper()
	resp, err := http.Get("http://" + address + "/api/v1/models/" + id)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ Versions []struct{ Warnings []string } }
	if err := json.Unmarshal(text, &m); err != nil || len(m.Versions) != 1 {
		return ""
	}
	return strings.Join(m.Versions[0].Warnings, "\n")
}
