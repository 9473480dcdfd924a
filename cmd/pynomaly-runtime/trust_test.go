package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestForeignConfiguration: a plugins.yaml in the working directory is serve's. What
// other commands load and run does not depend on the directory they are called in.
func TestForeignConfiguration(t *testing.T) {
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "pima-lof", "pima-lof", "1.0.0", nil)
	if err := os.WriteFile(filepath.Join(dir, "plugins.yaml"), []byte("downloaded: {with: the folder}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	const model = "pima-lof/1.0.0"
	for _, args := range [][]string{
		{"predict", model, "-", "--format", "csv"},
		{"model", "list", "--models", "."},
		{"model", "inspect", model},
		{"model", "verify", model},
		{"model", "init", model + "/model.onnx"},
		{"model", "fit", "ecod", "--data", "none.csv", "--id", "x"},
		{"model", "push", model, "127.0.0.1:1/x", "--plain-http"},
		{"model", "pull", "127.0.0.1:1/x:1", "--plain-http"},
		{"plugin", "test", model, "--calls", "1"},
		{"plugin", "bench", model, "--duration", "1ns"},
		{"plugin", "pack", model, "--models", "packed"},
		{"__complete", "predict", ""},
	} {
		out, errs, err := command(t, strings.NewReader(""), args...)
		if text := out + errs + errText(err); strings.Contains(text, "plugins.yaml") || strings.Contains(text, "downloaded") {
			t.Errorf("%v reads it: %s", args, text)
		}
	}
	for _, args := range [][]string{{"serve"}, {"deploy", "serve"}, {"model", "inspect", model, "--config", "plugins.yaml"}} {
		if _, _, err := command(t, nil, args...); err == nil || !strings.Contains(err.Error(), "downloaded: unknown key") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
