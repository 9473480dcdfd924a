// Package all opens every backend that a host has, and plays their helper roles.
package all

import (
	"io"
	"log/slog"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/backends/process"
	"github.com/pynomaly/pynomaly-runtime/backends/wasm"
	"github.com/pynomaly/pynomaly-runtime/internal/logs"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// Play plays the role that a program's arguments name, if they name one: the program is
// then a helper process of a host, and must do nothing else.
func Play(args []string, in io.Reader, out io.Writer) (played bool, err error) {
	switch {
	case len(args) == 2 && args[1] == onnx.ProbeRole:
		return true, onnx.ProbeMain(in, out)
	case len(args) == 2 && args[1] == wasm.CompileRole:
		return true, wasm.CompileMain(in, out)
	case len(args) == 3 && (args[1] == process.LimitsRole || args[1] == process.KeeperRole):
		return true, process.Main(args[1], args[2])
	}
	return false, nil
}

// Check returns why a host with the backend that a manifest names would refuse the
// artifact, as far as that can be known without running anything of it.
func Check(a backends.Artifact) error {
	switch a.Manifest.Backend {
	case manifest.BackendONNX:
		return onnx.Check(a)
	case manifest.BackendWASM:
		return wasm.Check(a)
	}
	return nil
}

// Config is made of the backends' configurations; nil: the backend is switched off. Each
// has a logger of its own, made of Log.
type Config struct {
	ONNX    *onnx.Config
	WASM    *wasm.Config
	Process *process.Config
	Log     *slog.Logger
}

// Open makes the backends, by the names that manifests have for them. One that cannot
// serve is there and says so; the log does as well. The returned function gives back what
// they hold when no model is open any more.
func Open(c Config) (map[string]backends.Backend, func()) {
	opened := map[string]backends.Backend{}
	var closers []func()
	if c.ONNX != nil {
		c.ONNX.Log = logs.Named(c.Log, "onnx")
		b := onnx.New(*c.ONNX)
		if err := b.Err(); err != nil {
			c.Log.Warn("ONNX Runtime is not available", "error", err)
		} else if file, version := b.Library(); file != "" {
			c.Log.Info("ONNX Runtime loaded", "library", file, "onnxruntime", version)
		}
		opened[manifest.BackendONNX] = b
	}
	if c.WASM != nil {
		c.WASM.Log = logs.Named(c.Log, "wasm")
		b := wasm.New(*c.WASM)
		if err := b.Err(); err != nil {
			c.Log.Warn("WASM modules cannot be served", "error", err)
		}
		opened[manifest.BackendWASM] = b
		closers = append(closers, func() {
			if err := b.Close(); err != nil {
				c.Log.Warn("compiled code is left behind", "error", err)
			}
		})
	}
	if c.Process != nil {
		c.Process.Log = logs.Named(c.Log, "process")
		b := process.New(*c.Process)
		if err := b.Err(); err != nil {
			c.Log.Warn("process plugins cannot be served", "error", err)
		}
		opened[manifest.BackendProcess] = b
		closers = append(closers, func() {
			if err := b.Close(); err != nil {
				c.Log.Warn("something of process plugins is left behind", "error", err)
			}
		})
	}
	return opened, func() {
		for _, f := range closers {
			f()
		}
	}
}
