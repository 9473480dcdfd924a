package main

import (
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/backends/process"
	"github.com/pynomaly/pynomaly-runtime/backends/wasm"
	"github.com/pynomaly/pynomaly-runtime/internal/authoring"
	"github.com/pynomaly/pynomaly-runtime/internal/child"
	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/logs"
	"github.com/pynomaly/pynomaly-runtime/internal/memory"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/manifest"
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
// and the flags over it.
func readConfig(cmd *cobra.Command, file string) (*config.Config, error) {
	return config.Load(file, cmd.Flags())
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

// store is the models directory.
func store(cfg *config.Config) modelstore.Store {
	return modelstore.Store{Dir: cfg.Models.Dir, Policy: policy(cfg)}
}

// openAuthor makes what commands on models need: the models directory of the
// configuration, and the backends that are switched on. adapt changes the configuration
// first. The returned function gives back what the backends hold when no model is open any
// more.
func openAuthor(cmd *cobra.Command, s streams, file string, adapt ...func(*config.Config) error) (authoring.Author, func(), error) {
	cfg, err := readConfig(cmd, file)
	if err != nil {
		return authoring.Author{}, nil, err
	}
	for _, f := range adapt {
		if err := f(cfg); err != nil {
			return authoring.Author{}, nil, err
		}
	}
	log, err := logs.New(s.err, new(slog.LevelVar), "warn", "text") // for people
	if err != nil {
		return authoring.Author{}, nil, err
	}
	state, err := cfg.State(log)
	if err != nil {
		return authoring.Author{}, nil, err
	}
	with, done := openBackends(cfg, state, log)
	return authoring.Author{Store: store(cfg), With: with}, done, nil
}

// openBackends makes the backends that are switched on; the returned function gives back
// what they hold when no model is open any more.
func openBackends(cfg *config.Config, state string, log *slog.Logger) (model.Backends, func()) {
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
