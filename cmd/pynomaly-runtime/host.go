package main

import (
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/backends/all"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/backends/process"
	"github.com/pynomaly/pynomaly-runtime/backends/wasm"
	"github.com/pynomaly/pynomaly-runtime/internal/authoring"
	"github.com/pynomaly/pynomaly-runtime/internal/cgroup"
	"github.com/pynomaly/pynomaly-runtime/internal/child"
	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/logs"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// defaultConfig is the file that serve reads if none is named and this one exists.
const defaultConfig = "plugins.yaml"

// serveConfig is readConfig, but without --config it reads plugins.yaml in the
// working directory if that exists.
func serveConfig(cmd *cobra.Command, file string) (*config.Config, error) {
	if file == "" {
		if _, err := os.Stat(defaultConfig); err == nil {
			file = defaultConfig
		}
	}
	return readConfig(cmd, file)
}

// readConfig reads the file that --config names, if any, and applies the environment
// and the flags on top.
func readConfig(cmd *cobra.Command, file string) (*config.Config, error) {
	return config.Load(file, cmd.Flags())
}

// policy returns what the host grants to models.
func policy(cfg *config.Config) catalog.Policy {
	return catalog.Policy{Max: cfg.Limits.Max, Trusted: cfg.Backends.ONNX.Trusted}
}

// store returns the models directory.
func store(cfg *config.Config) modelstore.Store {
	return modelstore.Store{Dir: cfg.Models.Dir, Policy: policy(cfg)}
}

// openAuthor opens what commands on models need: the models directory of the
// configuration and the enabled backends. adapt changes the configuration first. The
// returned function releases the backends; no model may be open then.
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

// openBackends opens the enabled backends. The returned function releases them; no
// model may be open then.
func openBackends(cfg *config.Config, state string, log *slog.Logger) (model.Backends, func()) {
	limit, _ := cgroup.Memory("/")
	limiter := child.NewLimiter(runtime.GOMAXPROCS(0), limit/3) // of the processes that check graphs and compile modules
	c := all.Config{Log: log}
	if b := cfg.Backends.ONNX; b.Enabled {
		c.ONNX = &onnx.Config{Library: b.Library, Forests: b.Forests, Probe: b.Probe, StateDir: state, Limiter: limiter}
	}
	if b := cfg.Backends.WASM; b.Enabled {
		c.WASM = &wasm.Config{CacheDir: b.CacheDir, MaxMemory: b.MaxMemory, Instances: cfg.Workers(), Limiter: limiter}
	}
	if b := cfg.Backends.Process; b.Enabled {
		c.Process = &process.Config{User: b.User, Env: b.Env, Cgroup: b.Cgroup, Random: rand.Float64}
		for _, a := range b.Allow {
			c.Process.Allow = append(c.Process.Allow, process.Allowed{Path: a.Path, Digests: a.Digests})
		}
	}
	return all.Open(c)
}
