package registry_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// Apply tells a registry what is in a directory, and Acquire loads a model from it.
func ExampleRegistry_Acquire() {
	ctx := context.Background()
	log := slog.New(slog.DiscardHandler)
	dir := testkit.Testdata("models")
	library := onnx.New(onnx.Config{Library: testkit.Library(), Probe: onnx.ProbeChild, Log: log})
	r, err := registry.New(registry.Config{
		Dir: dir, CacheSize: 4, Lazy: true, Now: time.Now, Random: func() float64 { return 0 }, Log: log, Observe: testkit.Silent{},
	}, model.Backends{manifest.BackendONNX: library}, batching.NewCalls(1))
	if err != nil {
		panic(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		panic(err)
	}
	defer root.Close()
	found, err := catalog.Scan(root)
	if err != nil {
		panic(err)
	}
	r.Apply(ctx, found)

	lease, err := r.Acquire(ctx, "pima-lof", "", "")
	if err != nil {
		panic(err)
	}
	fmt.Println(lease.Model().ID(), lease.Model().Version())
	lease.Release()
	if err := r.Close(ctx); err != nil {
		panic(err)
	}
	// Output: pima-lof 1.0.0
}
