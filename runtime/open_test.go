package runtime_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

func simple(id, version string) string {
	return "apiVersion: pynomaly.io/v1\nkind: Model\nid: " + id + "\nversion: " + version +
		"\nartifact: a\nfeatures: [{name: x, dtype: float64}]\nthreshold: 1\n"
}

// patient puts the limits of a manifest that does not say any far off: they end only
// what hangs.
func patient(text string) string {
	if strings.Contains(text, "limits:") {
		return text
	}
	return text + "limits: {timeout: 5m, load_timeout: 10m}\n"
}

// openFake opens one model with a detector written in Go.
func openFake(t *testing.T, text string, calls *batching.Calls, open func(*manifest.Manifest) sdk.Scorer) *runtime.Model {
	t.Helper()
	m, err := tryFake(t, text, calls, open)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func tryFake(t *testing.T, text string, calls *batching.Calls, open func(*manifest.Manifest) sdk.Scorer) (*runtime.Model, error) {
	t.Helper()
	if calls == nil {
		calls = batching.NewCalls(2)
	}
	dir := t.TempDir()
	for name, data := range map[string]string{"a": "a", manifest.FileName: patient(text)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return openDirectory(t, dir, runtime.Backends{manifest.BackendONNX: bare{open}}, calls)
}

// openDirectory opens the model in a directory.
func openDirectory(t testing.TB, dir string, with runtime.Backends, calls *batching.Calls) (*runtime.Model, error) {
	t.Helper()
	root, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	c, err := catalog.Read(root, catalog.Location{Dir: filepath.Base(dir)}, catalog.Policy{})
	if err != nil {
		return nil, err
	}
	return runtime.OpenContents(t.Context(), c, with, calls)
}

// bare is a backend that hands its detectors over as they are.
type bare struct {
	open func(*manifest.Manifest) sdk.Scorer
}

func (bare) Complete(context.Context, backends.Artifact) error { return nil }

func (b bare) Open(_ context.Context, a backends.Artifact) (sdk.Scorer, error) {
	return b.open(a.Manifest), nil
}

func openCase(t *testing.T, c *testkit.Case, backends runtime.Backends) *runtime.Model {
	t.Helper()
	m, err := openDirectory(t, filepath.Join(testkit.CopyModel(t, t.TempDir(), c.Name, c.Name, "1.0.0", nil), c.Name, "1.0.0"), backends, batching.NewCalls(2))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func row(t *testing.T, m *runtime.Model, values map[string]any) *sdk.Batch {
	t.Helper()
	data, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	d := m.Schema().NewDecoder()
	if err := d.JSONRow(&jsonscan.Scanner{Data: data}); err != nil || len(d.Failed()) > 0 {
		t.Fatal(err, d.Failed())
	}
	return d.Batch()
}

func batch(values ...float64) *sdk.Batch {
	b := sdk.NewBatch([]sdk.Feature{{Name: "x", DType: sdk.Float64}})
	b.Resize(len(values))
	copy(b.Float64s(), values)
	return b
}

func xs(t testing.TB, m *runtime.Model, values ...float64) *sdk.Batch {
	t.Helper()
	b := sdk.NewBatch(m.Schema().Features())
	b.Resize(len(values))
	copy(b.Float64s(), values)
	return b
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
