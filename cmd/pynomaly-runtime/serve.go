package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/child"
	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/logs"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

const (
	settleTime  = 200 * time.Millisecond // how far apart two looks at a model that is being copied are
	drainLook   = 20 * time.Millisecond
	logPatience = time.Second // for the rest of the log
)

func serveCommand(s streams) *cobra.Command {
	var file string
	var reload bool
	cmd := &cobra.Command{
		Use: "serve", Short: "Serve the models of a directory", Args: cobra.NoArgs,
		Example:     "  pynomaly-runtime serve --models models",
		Annotations: map[string]string{stopsInOrder: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			signals, forget := survive()
			defer forget()
			cfg, err := serveConfig(cmd, file)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), s, cfg, &reloader{
				file: cmp.Or(file, defaultConfig), read: func() (*config.Config, error) { return serveConfig(cmd, file) },
				follow: reload, signals: signals, tls: cfg.Server.TLS, cert: new(certificate),
			})
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (default plugins.yaml, if there is one)")
	cmd.Flags().BoolVar(&reload, "reload", false, "follow the configuration and TLS files: log level, aliases and certificate change without a restart, as after SIGHUP")
	config.AddFlags(cmd.Flags())
	return cmd
}

// running is a host that serves.
type running struct {
	log    *slog.Logger
	parts  parts // what the host consists of, in the order in which it was started
	server *rest.Server
	calls  *batching.Calls
	failed chan error // of the server
}

// serve runs the host until ctx ends, and then stops it in order and in time.
func serve(ctx context.Context, s streams, cfg *config.Config, changes *reloader) error {
	out := logs.NewBuffered(s.raw.err)
	defer closeLog(out)
	level := new(slog.LevelVar)
	base, err := logs.New(out, level, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return err
	}
	h := &running{log: logs.Named(base, "host"), failed: make(chan error, 1)}
	changes.level, changes.log = level, h.log
	stop := func() error {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.Server.Timeouts.Shutdown)
		defer cancel()
		return h.parts.close(end)
	}
	started := make(chan error, 1)
	go func() { started <- h.start(ctx, cfg, changes, out, base) }() // whoever gives up waiting for it ends the process
	select {
	case err = <-started:
	case <-ctx.Done():
		if err = waitFor(started, cfg.Server.Timeouts.Shutdown); errors.Is(err, errLeft) {
			return fmt.Errorf("stopping while the host starts: %w", err)
		}
	}
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			h.log.Info("stopped before the host served")
			err = nil
		}
		return errors.Join(err, stop())
	}
	select {
	case err = <-h.failed:
	case <-ctx.Done():
		most, whileConnected := cfg.Server.DrainTime()
		h.server.Drain()
		h.log.Info("stopping", "drain", most.String(), "while_connected", whileConnected)
		drain(h.server, h.failed, most, whileConnected)
	}
	if err = errors.Join(err, stop()); err != nil {
		h.log.Error("stopped, but not in order", "error", err)
		return err
	}
	h.log.Info("stopped")
	return nil
}

// closeLog writes what is left of the log, for a moment: it may be what hangs.
func closeLog(out *logs.Buffered) {
	end, cancel := context.WithTimeout(context.Background(), logPatience)
	defer cancel()
	_ = out.Close(end) // there is nowhere to tell
}

// start makes everything that the host consists of, and begins to serve.
func (h *running) start(ctx context.Context, cfg *config.Config, changes *reloader, out *logs.Buffered, base *slog.Logger) error {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := countDroppedLines(reg, out); err != nil {
		return err
	}
	h.calls = batching.NewCalls(workers(cfg))
	if err := fitLimits(cfg, h.calls, reg, h.log); err != nil {
		return err
	}
	if err := showConfinement(child.Confined(), reg, h.log); err != nil {
		return err
	}
	state, err := stateDir(cfg, h.log)
	if err != nil {
		return err
	}
	forget, err := catchCrash(state, h.log)
	if err != nil {
		h.log.Warn("what a crash says is on standard error only", "error", err)
	}
	h.parts.add("the file for crashes", forget)
	registry, err := h.startModels(cfg, state, reg, base)
	if err != nil {
		return err
	}
	if cfg.Server.TLS.Cert != "" {
		if err := changes.cert.read(cfg.Server.TLS); err != nil {
			return err
		}
	}
	ln, err := listen(ctx, cfg.Server.Host, cfg.Server.Port)
	if err != nil {
		return err
	}
	local := isLoopback(ln.Addr())
	if !local && !cfg.Server.Insecure {
		h.log.Warn("no authentication is configured and the address is open to others: routes that change the host answer local callers only", "address", ln.Addr().String())
	}
	h.server, err = rest.New(rest.Config{
		Version: version, Timeout: cfg.Server.Timeouts.Request, BodyLimit: int(cfg.Server.Limits.Body), MaxRows: cfg.Server.Limits.Rows,
		Inflight: cfg.Server.Limits.Inflight, Connections: cfg.Server.Limits.Connections, Full: h.calls.Full,
		Insecure: cfg.Server.Insecure, Loopback: local, Remote: cfg.Server.Environment == config.Production,
		Hosts: cfg.Server.Hosts, Origins: cfg.Server.Origins, DefaultModel: cfg.Models.Default, Now: time.Now,
		Samples: cfg.Server.Samples.Size, SampleModels: cfg.Server.Samples.Models, SamplesToken: cfg.Server.Samples.Token, SamplesTokenSHA256: strings.ToLower(cfg.Server.Samples.TokenSHA256),
		Log: logs.Named(base, "rest"), Predictions: logs.NewPredictions(out, changes.level, cfg.Log.Format, base),
	}, registry, reg)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	h.follow(ctx, cfg, registry, changes, base)
	h.log.Info("serving", "address", ln.Addr().String(), "version", version, "environment", cfg.Server.Environment,
		"models", cfg.Models.Dir, "workers", workers(cfg))
	h.serve(ln, changes.cert.config())
	return nil
}

// startModels opens the backends and the registry of models.
func (h *running) startModels(cfg *config.Config, state string, reg *prometheus.Registry, base *slog.Logger) (*registry.Registry, error) {
	loads, err := newLoadMetrics(reg)
	if err != nil {
		return nil, err
	}
	only, err := readOnly(cfg.Models.Only)
	if err != nil {
		return nil, err
	}
	with, closeBackends := openBackendsWith(cfg, state, base)
	h.parts.add("the backends", func(context.Context) error { closeBackends(); return nil })
	if err := libraryAsked(cfg, with); err != nil {
		return nil, err
	}
	registry, err := registry.New(registry.Config{
		Dir: cfg.Models.Dir, CacheSize: cfg.Models.CacheSize, CacheBytes: cfg.Models.CacheBytes, Default: cfg.Models.Default,
		Preload: cfg.Models.Preload, Pinned: cfg.Models.Pinned, Lazy: cfg.Models.Lazy, Immutable: cfg.Models.Immutable,
		Only: only, Policy: policy(cfg), StateDir: snapshotDir(state), Loads: cfg.Models.Loads,
		Now: time.Now, Random: rand.Float64, Log: logs.Named(base, "models"), Observe: loads,
	}, with, h.calls)
	if err != nil {
		return nil, err
	}
	h.parts.add("the models", registry.Close)
	return registry, nil
}

// libraryAsked fails where ONNX Runtime was named and cannot be loaded. Where it was
// not named, a host without it is a host without ONNX models.
func libraryAsked(cfg *config.Config, with model.Backends) error {
	b, ok := with[manifest.BackendONNX].(interface{ Err() error })
	if cfg.Backends.ONNX.Library == "" || !ok {
		return nil
	}
	if err := b.Err(); err != nil {
		return fmt.Errorf("backends.onnx.library (--onnxruntime, %sBACKENDS_ONNX_LIBRARY) names a file that cannot be used: %w", config.Prefix, err)
	}
	return nil
}

// follow follows the models directory and the configuration.
func (h *running) follow(ctx context.Context, cfg *config.Config, registry *registry.Registry, changes *reloader, base *slog.Logger) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	h.parts.add("looking at the models directory and the configuration", func(context.Context) error { cancel(); wg.Wait(); return nil })
	catalog := &catalog.Catalog{
		Dir: cfg.Models.Dir, Rescan: cfg.Models.Rescan, Settle: settleTime, Now: time.Now, Log: logs.Named(base, "catalog"), Apply: registry.Apply,
		AllowEmpty: cfg.Models.AllowEmpty, Trouble: registry.Trouble,
	}
	changes.registry = registry
	wg.Go(func() { _ = catalog.Follow(ctx) })
	wg.Go(func() { setAliases(ctx, registry, cfg, h.log) })
	wg.Go(func() { changes.run(ctx) })
}

// serve answers requests.
func (h *running) serve(ln net.Listener, tlsConfig *tls.Config) {
	var wg sync.WaitGroup
	h.parts.add("requests", func(ctx context.Context) error {
		err := h.server.Shutdown(ctx)
		_ = ln.Close() // where Shutdown came before Serve
		wg.Wait()
		return err
	})
	wg.Go(func() { h.failed <- h.server.Serve(ln, tlsConfig) })
}

// drainer is a server that knows who is connected to it.
type drainer interface {
	OpenConnections() int
}

// drain waits while traffic goes elsewhere: for a time, or while connections are
// open. It ends when the server fails.
func drain(server drainer, failed chan error, most time.Duration, whileConnected bool) {
	over := time.NewTimer(most)
	defer over.Stop()
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for !whileConnected || server.OpenConnections() > 0 {
		select {
		case <-over.C:
			return
		case err := <-failed:
			failed <- err
			return
		case <-look.C:
		}
	}
}

func readOnly(names []string) ([]registry.Only, error) {
	out := make([]registry.Only, 0, len(names))
	for _, name := range names {
		o, err := registry.ParseOnly(name)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// countDroppedLines tells Prometheus how many lines of the log were dropped.
func countDroppedLines(reg *prometheus.Registry, out *logs.Buffered) error {
	for kind := range out.Dropped() {
		err := reg.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "log_lines_dropped_total", Help: "Lines that were dropped because the log could not be written.",
			ConstLabels: prometheus.Labels{"kind": kind},
		}, func() float64 { return float64(out.Dropped()[kind]) }))
		if err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}
