package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestExamples runs every command of examples/README.md: the clients against a host,
// which print the same in each language, and the templates of detectors.
func TestExamples(t *testing.T) {
	r := newReader(t)
	r.built()
	r.start("exec bin/pynomaly-runtime serve --config plugins.yaml --models testdata/models")
	page, err := os.ReadFile(filepath.Join(r.dir, "examples", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	var clients []string // by what they print
	detectors := 0
	for _, s := range statements(string(page)) {
		command := strings.TrimSpace(s.text)
		if strings.HasPrefix(command, "bin/pynomaly-runtime plugin new") {
			r.do(s)
			detectors++
			continue
		}
		var errs strings.Builder
		cmd := r.command(command + " http://" + r.address)
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v: %s%s", command, err, out, errs.String())
		}
		if strings.Contains(command, "/curl/") {
			checkCurl(t, string(out))
			continue
		}
		clients = append(clients, string(out))
	}
	const want = "row 0: score 0.1237 anomaly true\nrow 1: score "
	if len(clients) != 3 || !strings.HasPrefix(clients[0], want) || strings.Count(clients[0], "\n") != 3 {
		t.Errorf("the clients print %q, want each to begin with %q", clients, want)
	}
	if len(slices.Compact(clients)) != 1 {
		t.Error("the clients do not print the same")
	}
	if detectors < 6 {
		t.Errorf("%d templates of detectors are shown", detectors)
	}
}

// TestExamplesFail checks that the clients fail with the reason if the host refuses
// a request.
func TestExamplesFail(t *testing.T) {
	empty, stop := startServe(t, "--models", t.TempDir(), "--port", "0", "--drain", "0s", "--state-dir", stateForTests(t))
	defer stop()
	for _, client := range [][]string{
		{"sh", "examples/curl/predict.sh"}, {"python3", "examples/python/client.py"}, {"go", "run", "./examples/go"}, {"node", "examples/javascript/client.mjs"},
	} {
		cmd := exec.CommandContext(t.Context(), client[0], append(client[1:], "http://"+empty)...)
		cmd.Dir = testkit.Root()
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "ModelNotFound") {
			t.Errorf("%v: %v: %s", client, err, out)
		}
	}
}

// checkCurl checks that the answers are a prediction and a batch whose last row
// failed.
func checkCurl(t *testing.T, out string) {
	t.Helper()
	answers := json.NewDecoder(strings.NewReader(out))
	var one api.Prediction
	var batch api.BatchResponse
	if err := answers.Decode(&one); err != nil || one.IsAnomaly == nil || !*one.IsAnomaly {
		t.Errorf("%v: %s", err, out)
	}
	if err := answers.Decode(&batch); err != nil || len(batch.Predictions) != 3 || batch.Predictions[2].Error == nil {
		t.Errorf("%v: %s", err, out)
	}
}
