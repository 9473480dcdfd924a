// Package modeltest opens models and registries whose detectors are written in Go,
// for tests of the packages below runtime.
//
// Package testkit starts whole hosts and opens models of the real backends.
package modeltest

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
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Simple returns a manifest with one feature.
func Simple(id, version string) string {
	return "apiVersion: pynomaly.io/v1\nkind: Model\nid: " + id + "\nversion: " + version +
		"\nartifact: a\nfeatures: [{name: x, dtype: float64}]\nthreshold: 1\n"
}

// patient adds long time limits to a manifest that has none: they end only what
// hangs.
func patient(text string) string {
	if strings.Contains(text, "limits:") {
		return text
	}
	return text + "limits: {timeout: 5m, load_timeout: 10m}\n"
}

// OpenFake opens a model with a detector written in Go.
func OpenFake(t *testing.T, text string, calls *batching.Calls, open func(*manifest.Manifest) sdk.Scorer) *model.Model {
	t.Helper()
	m, err := TryFake(t, text, calls, open)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TryFake is like OpenFake and returns the error of opening.
func TryFake(t *testing.T, text string, calls *batching.Calls, open func(*manifest.Manifest) sdk.Scorer) (*model.Model, error) {
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
	return openDirectory(t, dir, model.Backends{manifest.BackendONNX: Bare{open}}, calls)
}

// openDirectory opens the model in a directory.
func openDirectory(t testing.TB, dir string, with model.Backends, calls *batching.Calls) (*model.Model, error) {
	t.Helper()
	root, err := os.OpenRoot(filepath.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	c, err := catalog.Read(root, catalog.Location{Dir: filepath.Base(dir)}, catalog.Policy{}, nil)
	if err != nil {
		return nil, err
	}
	return model.Open(t.Context(), c, with, calls)
}

// Bare is a backend that hands its detectors over as they are.
type Bare struct {
	Make func(*manifest.Manifest) sdk.Scorer
}

// Inspect has nothing to add.
func (Bare) Inspect(context.Context, backends.Artifact) (manifest.Derived, error) {
	return manifest.Derived{}, nil
}

// Open returns what Make does.
func (b Bare) Open(_ context.Context, a backends.Artifact) (sdk.Scorer, error) {
	return b.Make(a.Manifest), nil
}

// OpenCase opens the model of a case until the test ends.
func OpenCase(t *testing.T, c *testkit.Case, backends model.Backends) *model.Model {
	t.Helper()
	m, err := openDirectory(t, testkit.CopyModel(t, t.TempDir(), c.Name, c.Name, "1.0.0", nil), backends, batching.NewCalls(2))
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

// Row returns a batch of one row.
func Row(t *testing.T, m *model.Model, values map[string]any) *sdk.Batch {
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

// Batch returns a batch of rows of one feature, x.
func Batch(values ...float64) *sdk.Batch {
	b := sdk.NewBatch([]sdk.Feature{{Name: "x", DType: sdk.Float64}})
	b.Resize(len(values))
	copy(b.Float64s(), values)
	return b
}

// RowsOf returns a batch of rows of a model with one feature.
func RowsOf(t testing.TB, m *model.Model, values ...float64) *sdk.Batch {
	t.Helper()
	b := sdk.NewBatch(m.Schema().Features())
	b.Resize(len(values))
	copy(b.Float64s(), values)
	return b
}

// Check ends the test if err is not nil.
func Check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
