package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestModelListUnreadable checks that `model list` tells an invalid model from one
// that cannot be read. If the test runs as root, the command runs as nobody.
func TestModelListUnreadable(t *testing.T) {
	dir, err := os.MkdirTemp("", "pynomaly-test-*")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	testkit.CopyModel(t, dir, "mammography-gmm", "closed", "1.0.0", nil)
	testkit.CopyModel(t, dir, "mammography-gmm", "good", "1.0.0", nil)
	testkit.CopyModel(t, dir, "mammography-gmm", "wrong", "1.0.0", func(m string) string { return m + "unknown: 1\n" })
	err = filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chmod(name, 0o755))
	})
	if err != nil {
		t.Fatal(err)
	}
	closed := filepath.Join(dir, "closed", "1.0.0", "model.yaml")
	if err := os.Chmod(closed, 0); err != nil {
		t.Fatal(err)
	}
	stateForTests(t)
	list := func(args ...string) string {
		t.Helper()
		type printed struct {
			out string
			err error
		}
		done := make(chan printed)
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends
			if os.Geteuid() == 0 {
				const nobody = 65534
				if _, err := unix.SetfsuidRetUid(nobody); err != nil {
					t.Error(err)
				}
			}
			out, _, err := command(t, nil, append([]string{"model", "list", "--models", dir}, args...)...)
			done <- printed{out, err}
		}()
		p := <-done
		if p.err != nil {
			t.Fatal(p.err)
		}
		return p.out
	}
	var all api.ModelList
	if err := json.Unmarshal([]byte(list("--json")), &all); err != nil {
		t.Fatal(err)
	}
	for n, want := range []string{"surroundings", "", "file"} {
		if got := all.Models[n]; got.Failure != want || (want == "") != (got.Status == "available") {
			t.Errorf("%+v, want failure %q", got, want)
		}
	}
	text := list()
	for _, want := range []string{"unreadable", "available", "failed"} {
		if strings.Count(text, " "+want+" ") != 1 {
			t.Errorf("not one %s in\n%s", want, text)
		}
	}
}

// TestModelListRefused checks that the list says what hosts refuse, as far as that can be
// known without running it.
func TestModelListRefused(t *testing.T) {
	dir := t.TempDir()
	graphs, err := filepath.Glob(testkit.Testdata("bad", "*.onnx"))
	if err != nil || len(graphs) < 10 {
		t.Fatal(len(graphs), err)
	}
	for _, file := range append(graphs, filepath.Join(testkit.Testdata("models", "mammography-gmm", "1.0.0"), "model.onnx")) {
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(file)), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "module.wasm"), []byte("no module"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, err := command(t, nil, "model", "list", "--models", dir, "--json")
	var all api.ModelList
	if err != nil || json.Unmarshal([]byte(out), &all) != nil {
		t.Fatalf("%v: %s", err, out)
	}
	available := []string{"model", "nan-output"} // the second is refused once it has run
	for _, m := range all.Models {
		switch good := slices.Contains(available, m.ModelID); {
		case good != (m.Status == "available"), !good && (m.Failure != "file" || !strings.HasPrefix(m.Error, "refused: ") || m.Backend == ""):
			t.Errorf("%+v", m)
		}
	}
	if len(all.Models) != len(graphs)+2 {
		t.Errorf("%d models", len(all.Models))
	}
}

// TestModelListMissing checks that the list says which named models are missing.
func TestModelListMissing(t *testing.T) {
	dir, models := t.TempDir(), t.TempDir()
	testkit.CopyModel(t, models, "pima-lof", "pima-lof", "1.0.0", nil)
	config := filepath.Join(dir, "plugins.yaml")
	text := "models: {default: cardio, aliases: {pima-lof: {names: {stable: 1.0.0, canary: 1.0.1}}}}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var list api.ModelList
	out, _, err := command(t, nil, "model", "list", "--json", "--models", models, "--config", config)
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list.Problems) != 2 {
		t.Fatalf("%v: %s", err, out)
	}
	plain, _, err := command(t, nil, "model", "list", "--models", models, "--config", config)
	for _, want := range []string{
		"models.default names model cardio, which is not there",
		"alias canary of model pima-lof stands for version 1.0.1, which is not there: there are 1.0.0",
	} {
		if err != nil || !slices.Contains(list.Problems, want) || !strings.Contains(plain, "problem: "+want+"\n") {
			t.Errorf("%v: %q\n%s", err, list.Problems, plain)
		}
	}
}

// TestStraysAreNamed checks that `model list` and `model verify` name files that hosts
// do not serve because of their names.
func TestStraysAreNamed(t *testing.T) {
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "mammography-gmm", "good", "1.0.0", nil)
	if err := os.WriteFile(filepath.Join(dir, "my model.onnx"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stateForTests(t)
	if out, _, err := command(t, nil, "model", "list", "--models", dir); err != nil || !strings.Contains(out, "Rename it to my-model.onnx") {
		t.Errorf("%s%v", out, err)
	}
	out, _, err := command(t, nil, "model", "verify", dir)
	if err == nil || !strings.Contains(out, "FAIL  my model.onnx: ") || !strings.Contains(out, "1 of 2 models can be served") {
		t.Errorf("%s%v", out, err)
	}
	if _, _, err := command(t, nil, "model", "inspect", filepath.Join(dir, "my model.onnx")); err == nil || !strings.Contains(err.Error(), "my-model.onnx") {
		t.Errorf("inspect says %v", err)
	}
}
