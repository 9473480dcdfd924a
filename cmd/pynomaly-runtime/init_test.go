package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// TestModelInit makes a model directory from a graph and training rows, and serves
// it unchanged.
func TestModelInit(t *testing.T) {
	dir := t.TempDir()
	const name = "pima-lof"
	testkit.CopyFile(t, testkit.Testdata("models", name, "1.0.0", "model.onnx"), filepath.Join(dir, "lof.onnx"))
	c := testkit.Cases(t)
	var rows *testkit.Case
	for _, k := range c {
		if k.Name == name {
			rows = k
		}
	}
	write(t, rows, "csv", filepath.Join(dir, "train.csv"))
	models := filepath.Join(dir, "models")
	out, errs, err := command(t, nil, "model", "init", filepath.Join(dir, "lof.onnx"), "--id", "mine", "--version", "2.0.0",
		"--train", filepath.Join(dir, "train.csv"), "--contamination", "0.05", "--models", models)
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, errs)
	}
	text, err := os.ReadFile(filepath.Join(models, "mine", "2.0.0", manifest.FileName))
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Decode(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if m.Threshold == nil || m.Calibration == nil || m.Confidence == nil || m.Explanation == nil || m.Golden == nil || m.DriftBins == "" || m.Files[m.DriftBins] == "" || m.Confidence.TrainingSize != len(rows.Rows) {
		t.Errorf("the manifest lacks something:\n%s", text)
	}
	if out, _, err := command(t, nil, "model", "verify", models); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	if _, _, err := command(t, nil, "model", "init", filepath.Join(dir, "lof.onnx"), "--id", "mine", "--version", "2.0.0", "--models", models); err == nil {
		t.Error("a second init overwrites the first")
	}
}

// TestInitOrients checks that init takes the orientation from the name of the output, and
// asks for it where the name does not say it. Training rows may be in every format.
func TestInitOrients(t *testing.T) {
	dir := t.TempDir()
	var rows *testkit.Case
	for _, k := range testkit.Cases(t) {
		if k.Name == "mammography-gmm" {
			rows = k
		}
	}
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(testkit.Root(), "testdata", "models", "mammography-gmm", "1.0.0"))); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"csv", "ndjson"} {
		write(t, rows, format, filepath.Join(dir, "train."+format))
		models := filepath.Join(dir, "models-"+format)
		out, errs, err := command(t, nil, "model", "init", filepath.Join(dir, "model.onnx"), "--id", "gmm", "--train", filepath.Join(dir, "train."+format), "--models", models)
		if err != nil || !strings.Contains(out, "threshold ") || !strings.Contains(out, "training rows") {
			t.Fatalf("%v: %s%s", err, out, errs)
		}
		text, err := os.ReadFile(filepath.Join(models, "gmm", "1.0.0", manifest.FileName))
		if err != nil || !strings.Contains(string(text), "orientation: higher_is_normal") {
			t.Errorf("%v\n%s", err, text)
		}
	}
	fused := filepath.Join(testkit.Root(), "testdata", "models", "cardio-iforest-fused", "1.0.0", "model.onnx")
	models := filepath.Join(dir, "models")
	if _, _, err := command(t, nil, "model", "init", fused, "--id", "f", "--models", models); err == nil || !strings.Contains(err.Error(), "--orientation higher_is_anomalous or higher_is_normal") {
		t.Errorf("an unknown orientation: %v", err)
	}
	if _, _, err := command(t, nil, "model", "init", fused, "--id", "f", "--models", models, "--orientation", "up"); err == nil {
		t.Error("the orientation may be up")
	}
	if out, errs, err := command(t, nil, "model", "init", fused, "--id", "f", "--models", models, "--orientation", "higher_is_normal"); err != nil {
		t.Errorf("%v: %s%s", err, out, errs)
	}
}
