package conformance_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/conformance"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/sdktest"
)

// TestPythonKNN follows the Python SDK's example, PyOD's KNN, as a user does: it
// trains the model, opens it, which scores its golden rows, and runs the kit on it.
func TestPythonKNN(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "pima-knn", "1.0.0")
	example := filepath.Join(testkit.Root(), "sdk", "python", "examples", "knn", "train.py")
	cmd := exec.CommandContext(t.Context(), testkit.Python(t), example, testkit.Testdata("reference", "data", "pima-train.csv"), at)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	change(t, filepath.Join(at, "model.yaml"), `"load_timeout": "1m"`, `"load_timeout": "30m"`) // far off, for busy machines
	change(t, filepath.Join(at, "model.yaml"), `"python3"`, fmt.Sprintf("%q", testkit.Python(t)))
	all, err := modelstore.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	with := model.Backends{manifest.BackendProcess: testkit.PythonProcesses(t, dir, nil)}
	m, err := all[0].Open(t.Context(), with, batching.NewCalls(1))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	in := sdk.NewBatch(m.Schema().Features())
	in.Resize(1)
	copy(in.Float64s(), []float64{8, 155, 62, 26, 495, 34, 0.543, 46})
	out := make([]float64, 1)
	if bad, err := m.Predict(t.Context(), in, 0, out); err != nil || bad != nil || !m.Judge(out[0], true).Anomaly {
		t.Errorf("%v, %v, %v", out, bad, err)
	}
}

// TestPythonConformance runs the kit on a plugin in Python.
func TestPythonConformance(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "odd", "1.0.0")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(testkit.Root(), "backends", "process", "testdata", "odd.py"))
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("apiVersion: pynomaly.io/v1\nkind: Model\nid: odd\nversion: 1.0.0\nbackend: process\nartifact: odd.py\ncommand: [%s, odd.py]\nlimits: {memory: 1GiB}\nfeatures: [{name: x, dtype: float64}, {name: y, dtype: float64}]\n", testkit.Python(t))
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "odd.py"), data, 0o600), os.WriteFile(filepath.Join(dir, "model.yaml"), []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	all, err := modelstore.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	open, o, err := conformance.Model(t.Context(), all[0], model.Backends{manifest.BackendProcess: testkit.PythonProcesses(t, dir, nil)})
	if err != nil {
		t.Fatal(err)
	}
	o.Calls = 3000
	sdktest.Run(t, open, o)
}

func change(t testing.TB, file, from, to string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(data), from, to, 1)
	if text == string(data) {
		t.Fatalf("%s does not have %s", file, from)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
