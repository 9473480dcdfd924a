//go:build !cgo

package onnx_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
)

// TestWithoutCgo checks that a host built without cgo says so, and does not ask for a
// library that it could not load.
func TestWithoutCgo(t *testing.T) {
	for _, library := range []string{"", filepath.Join(t.TempDir(), "none.so")} {
		b := onnx.New(onnx.Config{Library: library, Log: slog.New(slog.DiscardHandler)})
		if err := b.Err(); !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), "built without ONNX Runtime") || strings.Contains(err.Error(), "make onnxruntime") {
			t.Errorf("library %q: %v", library, err)
		}
	}
}
