package rest_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// gated is a backend whose detectors score rows one call at a time, when the test
// lets each pass.
type gated struct {
	armed  atomic.Bool
	begun  chan int      // the number of rows of each call
	passes chan struct{} // lets one call continue
	rows   atomic.Int64
	opens  chan struct{} // each load takes two items, at its beginning and its end; nil: none
}

func (*gated) Inspect(context.Context, backends.Artifact) (manifest.Derived, error) {
	return manifest.Derived{}, nil
}

func (g *gated) Open(context.Context, backends.Artifact) (sdk.Scorer, error) {
	if g.opens != nil {
		<-g.opens
		<-g.opens
	}
	return &gate{g}, nil
}

type gate struct{ *gated }

func (*gate) Info() sdk.Info {
	return sdk.Info{Features: []sdk.Feature{{Name: "x", DType: sdk.Float64}}, Concurrency: 1}
}

func (g *gate) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	if g.armed.Load() {
		g.begun <- in.Rows()
		select {
		case <-g.passes:
		case <-ctx.Done():
			return ctx.Err()
		}
		g.rows.Add(int64(in.Rows()))
	}
	copy(out, in.Float64s())
	return nil
}

func (*gate) Close() error { return nil }

// serveGated serves a model "slow" with a gated detector.
func serveGated(t *testing.T, o testkit.Options) (*testkit.Host, *gated) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "models")
	at := filepath.Join(dir, "slow", "1.0.0")
	if err := os.MkdirAll(at, 0o750); err != nil {
		t.Fatal(err)
	}
	text := "apiVersion: pynomaly.io/v1\nkind: Model\nid: slow\nversion: 1.0.0\nartifact: a\nfeatures: [{name: x, dtype: float64}]\nthreshold: 1\nlimits: {timeout: 10m}\n"
	for name, data := range map[string]string{manifest.FileName: text, "a": "gate"} {
		if err := os.WriteFile(filepath.Join(at, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := &gated{begun: make(chan int), passes: make(chan struct{})}
	o.Dir, o.Backends = dir, model.Backends{manifest.BackendONNX: g}
	h := testkit.Serve(t, o)
	g.armed.Store(true)
	t.Cleanup(func() { g.armed.Store(false) })
	return h, g
}
