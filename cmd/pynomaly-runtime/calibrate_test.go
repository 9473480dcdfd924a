package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// TestCalibrate checks that `model init` and then `model calibrate` write what `model init
// --train` writes, and keep a comment.
func TestCalibrate(t *testing.T) {
	dir := t.TempDir()
	graph := testkit.Testdata("models", "pima-lof", "1.0.0", "model.onnx")
	var rows *testkit.Case
	for _, k := range testkit.Cases(t) {
		if k.Name == "pima-lof" {
			rows = k
		}
	}
	train, models := filepath.Join(dir, "train.csv"), filepath.Join(dir, "models")
	write(t, rows, "csv", train)
	run := func(args ...string) string {
		t.Helper()
		out, errs, err := command(t, nil, append(args, "--models", models)...)
		if err != nil {
			t.Fatalf("%v: %v: %s%s", args, err, out, errs)
		}
		return out
	}
	told := run("model", "init", graph, "--id", "one", "--train", train, "--contamination", "0.05")
	run("model", "init", graph, "--id", "two")
	file := filepath.Join(models, "two", "1.0.0", manifest.FileName)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append([]byte("# Kept.\n"), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	out := run("model", "calibrate", filepath.Dir(file), "--train", train, "--contamination", "0.05")
	if threshold, _, _ := strings.Cut(told[strings.Index(told, "threshold "):], " ("); !strings.HasPrefix(out, "wrote "+file+"\n"+threshold) {
		t.Errorf("calibrate says %q, init %q", out, told)
	}
	for _, name := range []string{"train_scores.f64", "golden.ndjson", "drift.yaml", manifest.FileName} {
		one, err := os.ReadFile(filepath.Join(models, "one", "1.0.0", name))
		if err != nil {
			t.Fatal(err)
		}
		two, err := os.ReadFile(filepath.Join(models, "two", "1.0.0", name))
		if err != nil {
			t.Fatal(err)
		}
		if name == manifest.FileName {
			if !bytes.HasPrefix(two, []byte("# Kept.\n")) {
				t.Errorf("%s", two)
			}
			for line := range strings.Lines(string(one)) {
				if !strings.Contains(string(two), line) && !strings.HasPrefix(line, "id: ") {
					t.Errorf("%q is missing in\n%s", line, two)
				}
			}
		} else if !bytes.Equal(one, two) {
			t.Errorf("%s differs", name)
		}
	}
	if out := run("model", "verify", models); !strings.Contains(out, "2 of 2 models can be served") {
		t.Error(out)
	}
	for want, args := range map[string][]string{
		"write one with `model init`":   {graph, "--train", train},
		`required flag(s) "train"`:      {filepath.Dir(file)},
		"--contamination must be above": {filepath.Dir(file), "--train", train, "--contamination", "0.6"},
		"no such file":                  {filepath.Join(dir, "nothing"), "--train", train},
	} {
		if _, _, err := command(t, nil, append([]string{"model", "calibrate"}, args...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}
