package wasm_test

import (
	"log/slog"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/wasm"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// BenchmarkOpenCached opens a Go plugin whose code is in the cache.
func BenchmarkOpenCached(b *testing.B) {
	backend := wasm.New(wasm.Config{CacheDir: testkit.WASMCache(), Instances: 1, Log: slog.New(slog.DiscardHandler)})
	module := distance(b)
	m := model(b, xy+"config: {centre: [3, 4]}\n")
	for b.Loop() {
		s, err := backend.Open(b.Context(), backends.Artifact{Manifest: m, Bytes: module})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
