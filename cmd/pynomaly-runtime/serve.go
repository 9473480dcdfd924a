package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/api/entrance"
	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/child"
	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/crash"
	"github.com/pynomaly/pynomaly-runtime/internal/hostlimits"
	"github.com/pynomaly/pynomaly-runtime/internal/hostmetrics"
	"github.com/pynomaly/pynomaly-runtime/internal/lifecycle"
	"github.com/pynomaly/pynomaly-runtime/internal/listener"
	"github.com/pynomaly/pynomaly-runtime/internal/logs"
	"github.com/pynomaly/pynomaly-runtime/internal/platform"
	"github.com/pynomaly/pynomaly-runtime/internal/reload"
	"github.com/pynomaly/pynomaly-runtime/internal/tracing"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// settleTime is the time between two checks of a model that is being copied.
const settleTime = 200 * time.Millisecond

func serveCommand(s streams) *cobra.Command {
	var file string
	var follow bool
	cmd := &cobra.Command{
		Use: "serve", Short: "Serve the models of a directory", Args: cobra.NoArgs,
		Example:     "  pynomaly-runtime serve --models models",
		Annotations: map[string]string{stopsInOrder: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			signals, forget := lifecycle.Survive()
			defer forget()
			cfg, err := serveConfig(cmd, file)
			if err != nil {
				return err
			}
			changes := reload.Config{
				File: cmp.Or(file, defaultConfig), Read: func() (*config.Config, error) { return serveConfig(cmd, file) },
				Signals: signals, Now: time.Now,
			}
			if follow {
				changes.Follow = followed
			}
			return serve(cmd.Context(), s, cfg, changes)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (default plugins.yaml, if there is one)")
	cmd.Flags().BoolVar(&follow, "reload", false, "follow the configuration and TLS files: log level, aliases, certificates and access change without a restart, as after SIGHUP")
	config.AddFlags(cmd.Flags())
	return cmd
}

// running is a running host.
type running struct {
	lifecycle.Service
	cfg    *config.Config
	out    *logs.Buffered
	level  slog.LevelVar
	base   *slog.Logger // logger from which the parts' loggers are made
	reg    *prometheus.Registry
	cert   listener.Certificate
	server *rest.Server
	calls  *batching.Calls
	door   *entrance.Entrance
	traces *tracing.Tracing
	lines  *logs.Predictions
}

// serve runs the host until ctx ends, and then stops it in order within bounded
// time.
func serve(ctx context.Context, s streams, cfg *config.Config, changes reload.Config) error {
	h := &running{cfg: cfg, out: logs.NewBuffered(s.raw.err), reg: prometheus.NewRegistry()}
	defer h.out.CloseSoon()
	var err error
	if h.base, err = logs.New(h.out, &h.level, cfg.Log.Level, cfg.Log.Format); err != nil {
		return err
	}
	h.Service = lifecycle.Service{
		Start: func(ctx context.Context) error { return h.start(ctx, s.raw.out, changes) }, Drain: h.drain,
		Failed: make(chan error, 1), Shutdown: cfg.Server.Timeouts.Shutdown, Log: logs.Named(h.base, "host"),
	}
	return h.Run(ctx)
}

// drain stops accepting requests, and waits while traffic goes elsewhere.
func (h *running) drain() {
	most, whileConnected := h.cfg.Server.DrainTime()
	h.server.Drain()
	h.Log.Info("stopping", "drain", most.String(), "while_connected", whileConnected)
	lifecycle.Drain(h.server, h.Failed, most, whileConnected)
}

// start creates all parts of the host, and begins to serve.
func (h *running) start(ctx context.Context, out io.Writer, changes reload.Config) error {
	cfg := h.cfg
	h.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := hostmetrics.DroppedLines(h.reg, h.out); err != nil {
		return err
	}
	h.calls = batching.NewCalls(cfg.Workers())
	if err := hostlimits.Fit(cfg, h.calls, h.reg, h.Log); err != nil {
		return err
	}
	platform.Show(runtime.GOOS, h.Log)
	if err := hostmetrics.Confinement(child.Confined(), h.reg, h.Log); err != nil {
		return err
	}
	state, err := cfg.State(h.Log)
	if err != nil {
		return err
	}
	forget, err := crash.Catch(state, h.Log)
	if err != nil {
		h.Log.Warn("the text of a crash goes to standard error only", "error", err)
	}
	h.Parts.Add("the file for crashes", forget)
	if err := h.trace(ctx); err != nil {
		return err
	}
	registry, err := h.startModels(state)
	if err != nil {
		return err
	}
	if err := h.cert.Read(cfg.Server.TLS); err != nil {
		return err
	}
	ln, err := listener.Listen(ctx, cfg.Server.Host, cfg.Server.Port)
	if err != nil {
		return err
	}
	local := listener.IsLoopback(ln.Addr())
	h.door, err = entrance.Open(ctx, entrance.Config{Address: ln.Addr(), Loopback: local, Output: out, Log: logs.Named(h.base, "access"), Reg: h.reg}, cfg)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	h.Parts.Add("access", func(context.Context) error { return h.door.Close() })
	if h.server, err = rest.New(h.restConfig(local), registry, h.reg); err != nil {
		return errors.Join(err, ln.Close())
	}
	if err := h.follow(ctx, registry, changes); err != nil {
		return errors.Join(err, ln.Close())
	}
	h.Log.Info("serving", "address", ln.Addr().String(), "version", version, "environment", cfg.Server.Environment,
		"models", cfg.Models.Dir, "workers", cfg.Workers())
	h.serve(ln, h.cert.Config())
	stop, err := h.door.ServeOperators(ctx, cfg.Admin.Listen, logs.Named(h.base, "admin"))
	if err != nil {
		return err
	}
	h.Parts.Add("the address for operators", stop)
	return nil
}

// trace begins to record requests, if the configuration names a collector. It ends
// after the last request.
func (h *running) trace(ctx context.Context) (err error) {
	h.traces, err = tracing.Start(ctx, tracing.Config{Version: version, Random: rand.Uint64, Now: time.Now, Log: logs.Named(h.base, "traces"), Reg: h.reg}, h.cfg)
	if err != nil {
		return err
	}
	h.Parts.Add("traces", h.traces.Close)
	return nil
}

func (h *running) restConfig(loopback bool) rest.Config {
	cfg := h.cfg
	h.lines = logs.NewPredictions(h.out, &h.level, cfg.Log.Format, h.base)
	h.lines.Sample(cfg.Log.Sample)
	return rest.Config{
		Version: version, Timeout: cfg.Server.Timeouts.Request, BodyLimit: int(cfg.Server.Limits.Body), MaxRows: cfg.Server.Limits.Rows,
		Inflight: cfg.Server.Limits.Inflight, Connections: cfg.Server.Limits.Connections, Full: h.calls.Full,
		Loopback: loopback, Gate: h.door.Gate, AuditPredictions: cfg.Audit.Predictions,
		Hosts: cfg.Server.Hosts, Origins: cfg.Server.Origins, HSTS: cfg.Server.TLS.StrictTransport(), DefaultModel: cfg.Models.Default, Now: time.Now,
		Samples: cfg.Server.Samples.Size, SampleModels: cfg.Server.Samples.Models,
		Log: logs.Named(h.base, "rest"), Predictions: h.lines, Traces: h.traces.Source(),
	}
}

// startModels opens the backends and the registry of models.
func (h *running) startModels(state string) (*registry.Registry, error) {
	cfg := h.cfg
	loads, err := rest.NewLoadMetrics(h.reg)
	if err != nil {
		return nil, err
	}
	named, err := namedBy(cfg)
	if err != nil {
		return nil, err
	}
	with, closeBackends := openBackends(cfg, state, h.base)
	h.Parts.Add("the backends", func(context.Context) error { closeBackends(); return nil })
	if err := libraryAsked(cfg, with); err != nil {
		return nil, err
	}
	registry, err := registry.New(registry.Config{
		Dir: cfg.Models.Dir, CacheSize: cfg.Models.CacheSize, CacheBytes: cfg.Models.CacheBytes, Named: named,
		Lazy: cfg.Models.Lazy, Immutable: cfg.Models.Immutable, Policy: policy(cfg), StateDir: config.Snapshots(state), Loads: cfg.Models.Loads, ReadBytes: hostlimits.ReadBytes(),
		Now: time.Now, Random: rand.Float64, Log: logs.Named(h.base, "models"), Observe: loads,
	}, with, h.calls)
	if err != nil {
		return nil, err
	}
	h.Parts.Add("the models", registry.Close)
	return registry, nil
}

// libraryAsked returns an error if ONNX Runtime was named and cannot be loaded. If
// it was not named, a host without it serves no ONNX models.
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
func (h *running) follow(ctx context.Context, registry *registry.Registry, changes reload.Config) error {
	cfg := h.cfg
	changes.Done = h.door.Reloaded
	changes.Log, changes.Reloaders = h.Log, h.reloaders(registry)
	list, err := reload.New(changes, cfg, h.reg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	h.Parts.Add("following the models directory and the configuration", func(context.Context) error { cancel(); wg.Wait(); return nil })
	catalog := &catalog.Catalog{
		Dir: cfg.Models.Dir, Rescan: cfg.Models.Rescan, Settle: settleTime, Now: time.Now, Log: logs.Named(h.base, "catalog"), Apply: registry.Apply,
		AllowEmpty: cfg.Models.AllowEmpty, Trouble: registry.Trouble,
	}
	wg.Go(func() { _ = catalog.Follow(ctx) })
	wg.Go(func() { list.Run(ctx) })
	return nil
}

// serve answers requests.
func (h *running) serve(ln net.Listener, tlsConfig *tls.Config) {
	var wg sync.WaitGroup
	h.Parts.Add("requests", func(ctx context.Context) error {
		err := h.server.Shutdown(ctx)
		_ = ln.Close() // if Shutdown came before Serve
		wg.Wait()
		return err
	})
	wg.Go(func() { h.Failed <- h.server.Serve(ln, tlsConfig) })
}

// namedBy returns the models that a configuration names.
func namedBy(cfg *config.Config) (registry.Named, error) {
	n := registry.Named{Default: cfg.Models.Default, Preload: cfg.Models.Preload, Pinned: cfg.Models.Pinned, Aliases: aliasesOf(cfg)}
	for _, name := range cfg.Models.Only {
		o, err := registry.ParseOnly(name)
		if err != nil {
			return n, err
		}
		n.Only = append(n.Only, o)
	}
	return n, nil
}
