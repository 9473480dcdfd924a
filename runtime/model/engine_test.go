package model_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// engine is a detector of a backend that has a choice. Scores of a moody one never repeat.
type engine struct {
	moody
	name string
}

func (e engine) Engine() backends.Engine { return backends.Engine{Name: e.name, Detail: "so it is"} }

func (e engine) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	if e.n == nil {
		return e.Sums.Score(ctx, in, out)
	}
	return e.moody.Score(ctx, in, out)
}

// TestEngines checks that a forest that fails the probe of a model gives way to the graph
// itself, and that nothing else is opened twice.
func TestEngines(t *testing.T) {
	ill := moody{n: new(atomic.Int64)}
	for name, c := range map[string]struct {
		engines []engine // the first one is opened first
		opened  int64
		want    string // the engine; empty: the model is refused
	}{
		"a forest":                  {[]engine{{name: "forest"}}, 1, "forest"},
		"a forest that fails":       {[]engine{{ill, "forest"}, {name: "onnxruntime"}}, 2, "onnxruntime"},
		"a forest and a graph fail": {[]engine{{ill, "forest"}, {ill, "onnxruntime"}}, 2, ""},
		"a graph fails":             {[]engine{{ill, "onnxruntime"}}, 1, ""},
		"no choice":                 {[]engine{{ill, ""}}, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var opened atomic.Int64
			m, err := modeltest.TryFake(t, modeltest.Simple("m", "1.0.0"), nil, func(*manifest.Manifest) sdk.Scorer {
				return c.engines[min(int(opened.Add(1)), len(c.engines))-1]
			})
			if opened.Load() != c.opened {
				t.Errorf("opened %d times, want %d", opened.Load(), c.opened)
			}
			if (err == nil) != (c.want != "") {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			defer m.Close()
			e := m.Engine()
			if e.Name != c.want || (c.opened == 2) != strings.Contains(e.Detail, "needs stateful: true") {
				t.Errorf("engine %+v, want %q", e, c.want)
			}
		})
	}
}
