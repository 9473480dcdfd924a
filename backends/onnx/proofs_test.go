package onnx_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

func logging(t *testing.T, state string, log *bytes.Buffer) *onnx.Backend {
	t.Helper()
	b := onnx.New(onnx.Config{Library: testkit.Library(), Probe: onnx.ProbeChild, StateDir: state, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	return b
}

// proof returns the path and the contents of the only proof below a state
// directory.
func proof(t *testing.T, state string) (file, text string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(state, "onnx-proved", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("proofs %v, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return files[0], string(data)
}

// TestProofsAreSealed checks that a proof that this host has not sealed is
// ignored, and that the graph is proved again.
func TestProofsAreSealed(t *testing.T) {
	state, model := t.TempDir(), testkit.Testdata("variants", "plain-sum.onnx")
	load := func() {
		t.Helper()
		if _, err := open(t, testkit.ONNX(t, state), model, nil); err != nil {
			t.Fatal(err)
		}
	}
	load()
	file, first := proof(t, state)
	load()
	if _, second := proof(t, state); second != first {
		t.Fatalf("a good proof was replaced: %s, then %s", first, second)
	}
	other := t.TempDir()
	if _, err := open(t, testkit.ONNX(t, other), model, nil); err != nil {
		t.Fatal(err)
	}
	_, foreign := proof(t, other)
	for name, forged := range map[string]string{
		"changed":          strings.Replace(first, `"OutputRank":2`, `"OutputRank":1`, 1),
		"without a seal":   `{"Finding":{"OutputRank":2}}`,
		"of an older host": `{"OutputRank":2,"LoadTime":1,"BatchTime":1}`,
		"of another host":  foreign,
		"no proof":         "text",
		"empty":            "",
	} {
		if forged == first {
			t.Fatalf("%s: nothing is forged in %s", name, first)
		}
		if err := os.WriteFile(file, []byte(forged), 0o600); err != nil {
			t.Fatal(err)
		}
		load()
		if _, now := proof(t, state); now == forged || !strings.Contains(now, `"OutputRank":2`) {
			t.Errorf("%s: the proof was accepted: %s", name, now)
		}
	}
	// A new key invalidates all older proofs.
	if err := os.Remove(filepath.Join(state, "keys", "onnx-proofs")); err != nil {
		t.Fatal(err)
	}
	_, before := proof(t, state)
	load()
	if _, now := proof(t, state); now == before {
		t.Error("a proof under another key was accepted")
	}
}

// TestProofsOfAnotherGraph checks that a proof does not count for another graph
// if it is renamed.
func TestProofsOfAnotherGraph(t *testing.T) {
	state := t.TempDir()
	load := func(name string) string {
		t.Helper()
		if _, err := open(t, testkit.ONNX(t, state), testkit.Testdata("variants", name), nil); err != nil {
			t.Fatal(err)
		}
		file, _ := proof(t, state)
		return file
	}
	a := load("plain-sum.onnx")
	if err := os.Rename(a, filepath.Join(state, "a")); err != nil {
		t.Fatal(err)
	}
	b := load("f64-tensor.onnx")
	moved, err := os.ReadFile(filepath.Join(state, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b, moved, 0o600); err != nil {
		t.Fatal(err)
	}
	load("f64-tensor.onnx")
	if _, now := proof(t, state); now == string(moved) {
		t.Error("the proof of another graph was accepted")
	}
}

// TestProofsInAnExposedDirectory checks that no proof is read or written if
// others may write to a directory of its path, and that the log names that
// directory.
func TestProofsInAnExposedDirectory(t *testing.T) {
	testkit.NeedRuntime(t)
	model := testkit.Testdata("variants", "plain-sum.onnx")
	for _, at := range []string{"", "state", "state/onnx-proved", "state/keys"} {
		dir, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		state := filepath.Join(dir, "state")
		var log bytes.Buffer
		if _, err := open(t, logging(t, state, &log), model, nil); err != nil || log.Len() > 0 {
			t.Fatal(err, log.String())
		}
		file, before := proof(t, state)
		forged := strings.Replace(before, `"OutputRank":2`, `"OutputRank":1`, 1)
		if err := os.WriteFile(file, []byte(forged), 0o600); err != nil {
			t.Fatal(err)
		}
		exposed := filepath.Join(dir, at)
		if err := os.Chmod(exposed, 0o777); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			log.Reset()
			if _, err := open(t, logging(t, state, &log), model, nil); err != nil {
				t.Errorf("%s: %v", at, err)
			}
			if n := strings.Count(log.String(), " "+exposed+" "); n != 1 {
				t.Errorf("%s: %d mentions in %q", at, n, log.String())
			}
		}
		if _, now := proof(t, state); now != forged {
			t.Errorf("%s: a proof was written: %s", at, now)
		}
	}
}

// TestComparisonsAtTheSameTime checks that manifests of one graph that are loaded at the same
// time do not lose each other's comparisons.
func TestComparisonsAtTheSameTime(t *testing.T) {
	const manifests = 6
	state := t.TempDir()
	b := testkit.ONNX(t, state)
	errs := make(chan error, manifests)
	for i := range manifests {
		a := artifactOf(t, b, "testdata/forests/iforest.onnx")
		a.Manifest.Golden = &manifest.Golden{Tolerance: 1e-5 * float64(i+1)}
		go func() {
			s, err := b.Open(t.Context(), a)
			if err == nil {
				err = s.Close()
			}
			errs <- err
		}()
	}
	for range manifests {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	_, text := proof(t, state)
	var kept struct {
		Finding struct{ Forests map[string]string }
	}
	if err := json.Unmarshal([]byte(text), &kept); err != nil || len(kept.Finding.Forests) != manifests {
		t.Errorf("the proof keeps %d of %d comparisons: %v", len(kept.Finding.Forests), manifests, err)
	}
}
