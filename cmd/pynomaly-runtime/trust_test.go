package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/pynomaly/pynomaly-runtime/internal/oci"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestForeignConfiguration checks that only serve reads a plugins.yaml in the
// working directory. What other commands load and run does not depend on that
// directory.
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

// TestNoEscapes checks for every command that texts of a folder, a manifest, a
// plugin or a registry reach the terminal without control characters.
func TestNoEscapes(t *testing.T) {
	const escape = "\x1b]0;owned\x07\u009b31m\u202e"
	dir := t.TempDir()
	write := func(folder, id, more string) {
		t.Helper()
		at := filepath.Join(dir, id, folder)
		if err := os.MkdirAll(at, 0o750); err != nil {
			t.Fatal(err)
		}
		text := "apiVersion: pynomaly.io/v1\nkind: Model\nid: " + id + "\nversion: 1.0.0\nfeatures: [{name: a, dtype: float64}]\n" + more
		if err := os.WriteFile(filepath.Join(at, "model.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	quoted := `"\e]0;owned\a\x9b31m\u202e"`
	write("1.0.0"+escape, "folder", "artifact: a\n")
	write("1.0.0", "key", quoted+": 1\nartifact: a\n")
	write("1.0.0", "artifact", "artifact: "+quoted+"\n")
	write("1.0.0", "words", "backend: process\ncommand: [printf, "+`"red \\033]0;owned\\007\\n\\033[31m"`+"]\ndescription: "+quoted+"\nalgorithm: "+quoted+"\n")
	config := filepath.Join(dir, "allow.yaml")
	text := fmt.Sprintf("backends: {process: {enabled: true, user: %q, allow: [{path: %q}]}}\n", testkit.PluginUser(), dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	registry := testkit.Registry(t, t.TempDir(), "") + "/models/x"
	model := &oci.Model{ID: "words", Version: "1.0.0", Digest: escape, Files: map[string][]byte{
		"model.yaml": []byte("apiVersion: pynomaly.io/v1\nkind: Model\nid: words\nversion: 1.0.0\nbackend: process\ncommand: [a]\nfeatures: [{name: a, dtype: float64}]\n"),
	}}
	if _, err := oci.Push(t.Context(), registry+":1", model, oci.Options{PlainHTTP: true}); err != nil {
		t.Fatal(err)
	}
	rows := filepath.Join(dir, "rows.csv")
	if err := os.WriteFile(rows, []byte("a\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string // what is printed beside it
	}{
		{[]string{"model", "list", "--models", dir}, "not named by a semantic version"},
		{[]string{"model", "inspect", filepath.Join(dir, "words", "1.0.0"), "--config", config}, "algorithm:"},
		{[]string{"model", "inspect", filepath.Join(dir, "key", "1.0.0")}, "unknown key"},
		{[]string{"model", "verify", dir, "--config", config}, "0 of 4 models"},
		{[]string{"model", "pull", registry + ":1", "--plain-http", "--models", t.TempDir()}, "whoever pushed it said"},
		{[]string{"model", "pull", registry + ":1" + escape, "--plain-http"}, "Error:"},
		{[]string{"predict", filepath.Join(dir, "words", "1.0.0"), rows, "--config", config}, "red"},
		{[]string{"predict", filepath.Join(dir, "artifact", "1.0.0"), rows}, "artifact"},
		{[]string{"serve", "--mod" + escape}, "Error:"},
	} {
		out, errs, _ := installed(t, c.args...)
		printed := out + errs
		if !strings.Contains(printed, c.want) {
			t.Errorf("%q prints %q, want %q in it", c.args, printed, c.want)
		}
		for _, r := range printed {
			if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
				t.Errorf("%q prints %q", c.args, printed)
				break
			}
		}
	}
}
