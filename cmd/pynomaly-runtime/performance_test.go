package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestPerformancePage runs the commands of docs/performance.md against a host with a
// model of the reader's. Each must succeed, and print or write something.
func TestPerformancePage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(testkit.Root(), "docs", "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t)
	r.built()
	r.env = append(r.env, "PYNOMALY_BACKENDS_ONNX_LIBRARY="+testkit.Library())
	if err := os.CopyFS(filepath.Join(r.dir, "models", "pima-lof"), os.DirFS(testkit.Testdata("models", "pima-lof"))); err != nil {
		t.Fatal(err)
	}
	operators := strings.NewReplacer("127.0.0.1:9091", testkit.FreeAddress(t), "seconds=10", "seconds=1")
	ran := 0
	for _, s := range statements(string(text)) {
		ran++
		bare := strings.TrimSpace(operators.Replace(s.text))
		if strings.HasSuffix(bare, "&") {
			r.start("exec " + strings.TrimSuffix(bare, "&"))
			fetch(t, "http://"+r.address+"/api/v1/predict", "POST", `{"model_id": "pima-lof", "data": [8, 155, 62, 26, 495, 34, 0.543, 46]}`)
			continue
		}
		out, err := r.command(bare).Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", bare, err, words(err))
		}
		if _, file, written := strings.Cut(bare, " -o "); written {
			name, _, _ := strings.Cut(file, " ")
			if out, err = os.ReadFile(filepath.Join(r.dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		if len(out) == 0 {
			t.Errorf("%s has no result", bare)
		}
	}
	if ran < 8 {
		t.Errorf("the page has %d commands", ran)
	}
}

// words returns what a command wrote to standard error.
func words(err error) string {
	if e, ok := err.(*exec.ExitError); ok { //nolint:errorlint // exec returns it as it is
		return string(e.Stderr)
	}
	return ""
}
