//go:build cgo

package onnx_test

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
)

// Without the library a host starts nevertheless. The error says what to do.
func ExampleNew() {
	b := onnx.New(onnx.Config{Library: "/nowhere/libonnxruntime.so", Probe: onnx.ProbeChild, Log: slog.New(slog.DiscardHandler)})
	fmt.Println(b.Err() != nil, strings.Contains(b.Err().Error(), "make onnxruntime"))
	// Output: true true
}
