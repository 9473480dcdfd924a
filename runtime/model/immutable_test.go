package model_test

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// adding is a backend whose artifacts add a feature and a warning, and whose detectors
// say that they are stateful.
type adding struct{ seen []*manifest.Manifest }

func (*adding) Inspect(context.Context, backends.Artifact) (manifest.Derived, error) {
	return manifest.Derived{
		Features: []manifest.Feature{{Feature: sdk.Feature{Name: "x", DType: sdk.Float64}}}, Warnings: []string{"derived"},
	}, nil
}

func (b *adding) Open(_ context.Context, a backends.Artifact) (sdk.Scorer, error) {
	b.seen = append(b.seen, a.Manifest)
	return &modeltest.Counter{}, nil
}

// TestManifestIsImmutable: a model is opened with what its artifact adds to the manifest,
// and the manifest that was read stays as it is.
func TestManifestIsImmutable(t *testing.T) {
	dir := t.TempDir()
	text := "apiVersion: pynomaly.io/v1\nkind: Model\nid: m\nversion: 1.0.0\nartifact: a\nthreshold: 1\nlimits: {timeout: 5m, load_timeout: 10m}\n"
	for name, data := range map[string]string{"a": "a", manifest.FileName: text} {
		modeltest.Check(t, os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600))
	}
	root, err := os.OpenRoot(filepath.Dir(dir))
	modeltest.Check(t, err)
	defer root.Close()
	c, err := catalog.Read(root, catalog.Location{Dir: filepath.Base(dir)}, catalog.Policy{}, nil)
	modeltest.Check(t, err)
	before, b := c.Manifest.Clone(), &adding{}
	m, err := model.Open(t.Context(), c, model.Backends{manifest.BackendONNX: b}, batching.NewCalls(1))
	modeltest.Check(t, err)
	if !reflect.DeepEqual(c.Manifest, before) {
		t.Errorf("the manifest that was read was changed to %+v", c.Manifest)
	}
	if len(m.Manifest.Features) != 1 || !m.Manifest.Stateful || len(m.Warnings) == 0 || m.Warnings[0] != "derived" {
		t.Errorf("%+v, %q", m.Manifest, m.Warnings)
	}
	if len(b.seen) != 2 || b.seen[0].Stateful || !b.seen[1].Stateful || len(b.seen[0].Features) != 1 {
		t.Errorf("the backend was given %+v", b.seen)
	}
	modeltest.Check(t, m.Close())
}
