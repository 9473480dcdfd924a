package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/backends/process"
	"github.com/pynomaly/pynomaly-runtime/backends/wasm"
	"github.com/pynomaly/pynomaly-runtime/internal/child"
	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/logs"
	"github.com/pynomaly/pynomaly-runtime/internal/memory"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	host "github.com/pynomaly/pynomaly-runtime/runtime"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// defaultConfig is what serve reads where no file is named, if it is there.
const defaultConfig = "plugins.yaml"

// serveConfig is readConfig with plugins.yaml of the working directory, if there is
// one, where --config names no file.
func serveConfig(cmd *cobra.Command, file string) (*config.Config, error) {
	if file == "" {
		if _, err := os.Stat(defaultConfig); err == nil {
			file = defaultConfig
		}
	}
	return readConfig(cmd, file)
}

// readConfig reads the file that --config names, if it does, and lays the environment
// and the flags over it. It looks for no file by itself: a command is run in whatever
// directory, and the configuration names libraries that are loaded and programs that
// are run.
func readConfig(cmd *cobra.Command, file string) (*config.Config, error) {
	cfg := config.Default()
	if file != "" {
		var err error
		if cfg, err = config.Read(file); err != nil {
			return nil, err
		}
	}
	return cfg, cfg.Overlay(cmd.Flags())
}

// stateDir is where the host remembers things: the configured directory, else
// the user's; empty where that cannot be written.
func stateDir(cfg *config.Config, log *slog.Logger) (string, error) {
	if cfg.StateDir != "" {
		if err := writable(cfg.StateDir); err != nil {
			return "", fmt.Errorf("state_dir: %w", err)
		}
		return cfg.StateDir, nil
	}
	base := os.Getenv("XDG_STATE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			log.Warn("there is no state directory: nothing outlives this host", "error", err)
			return "", nil
		}
		base = filepath.Join(home, ".local", "state")
	}
	dir := filepath.Join(base, "pynomaly-runtime")
	if err := writable(dir); err != nil {
		log.Warn("the state directory cannot be written: nothing outlives this host; state_dir names another", "directory", dir, "error", err)
		return "", nil
	}
	return dir, nil
}

// writable makes a directory, and a file in it.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".write-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// snapshotDir is where the states of stateful models are kept.
func snapshotDir(state string) string {
	if state == "" {
		return ""
	}
	return filepath.Join(state, "snapshots")
}

// policy is what models are granted.
func policy(cfg *config.Config) catalog.Policy {
	return catalog.Policy{Max: cfg.Limits.Max, Trusted: cfg.Backends.ONNX.Trusted}
}

// find finds the models that a path names, for opening them as the host would.
func find(cfg *config.Config, path string) ([]host.Place, error) {
	all, err := host.Find(path)
	for i := range all {
		all[i].Policy = policy(cfg)
	}
	return all, err
}

// openBackends makes the backends that are switched on; the returned function
// gives back what they hold when no model is open any more.
func openBackends(cfg *config.Config, log *slog.Logger) (model.Backends, func(), error) {
	state, err := stateDir(cfg, log)
	if err != nil {
		return nil, nil, err
	}
	all, done := openBackendsWith(cfg, state, log)
	return all, done, nil
}

// openBackendsWith is openBackends with a state directory that is known.
func openBackendsWith(cfg *config.Config, state string, log *slog.Logger) (model.Backends, func()) {
	all := model.Backends{}
	limit, _ := memory.Limit("/")
	limiter := child.NewLimiter(runtime.GOMAXPROCS(0), limit/3) // of the processes that prove graphs and compile modules
	if cfg.Backends.ONNX.Enabled {
		b := onnx.New(onnx.Config{
			Library: cfg.Backends.ONNX.Library, Probe: cfg.Backends.ONNX.Probe, StateDir: state, Limiter: limiter, Log: logs.Named(log, "onnx"),
		})
		if err := b.Err(); err != nil {
			log.Warn("ONNX Runtime is not available", "error", err)
		} else {
			file, version := b.Library()
			log.Info("ONNX Runtime loaded", "library", file, "onnxruntime", version)
		}
		all[manifest.BackendONNX] = b
	}
	done := func() {}
	if cfg.Backends.WASM.Enabled {
		b := wasm.New(wasm.Config{
			CacheDir: cfg.Backends.WASM.CacheDir, MaxMemory: cfg.Backends.WASM.MaxMemory, Instances: workers(cfg), Limiter: limiter, Log: logs.Named(log, "wasm"),
		})
		if err := b.Err(); err != nil {
			log.Warn("WASM modules cannot be served", "error", err)
		}
		all[manifest.BackendWASM] = b
		done = func() {
			if err := b.Close(); err != nil {
				log.Warn("compiled code is left behind", "error", err)
			}
		}
	}
	if cfg.Backends.Process.Enabled {
		p := cfg.Backends.Process
		c := process.Config{User: p.User, Env: p.Env, Cgroup: p.Cgroup, Random: rand.Float64, Log: logs.Named(log, "process")}
		for _, a := range p.Allow {
			c.Allow = append(c.Allow, process.Allowed{Path: a.Path, Digests: a.Digests})
		}
		b := process.New(c)
		if err := b.Err(); err != nil {
			log.Warn("process plugins cannot be served", "error", err)
		}
		all[manifest.BackendProcess] = b
		before := done
		done = func() {
			before()
			if err := b.Close(); err != nil {
				log.Warn("something of process plugins is left behind", "error", err)
			}
		}
	}
	return all, done
}

func workers(cfg *config.Config) int {
	if cfg.Server.Workers > 0 {
		return cfg.Server.Workers
	}
	return runtime.GOMAXPROCS(0)
}
