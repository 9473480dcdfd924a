package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/logs"
	host "github.com/pynomaly/pynomaly-runtime/runtime"
)

// settleTime is how far apart two looks at a model that is being copied are.
const settleTime = 200 * time.Millisecond

func serveCommand(s streams) *cobra.Command {
	var file string
	var reload bool
	cmd := &cobra.Command{
		Use: "serve", Short: "Serve the models of a directory", Args: cobra.NoArgs,
		Example: "  pynomaly-runtime serve --models models",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := readConfig(cmd, file)
			if err != nil {
				return err
			}
			again := func() (*config.Config, error) { return readConfig(cmd, file) }
			if !reload {
				again = nil
			}
			return serve(cmd.Context(), s, cfg, file, again)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (default plugins.yaml, if there is one)")
	cmd.Flags().BoolVar(&reload, "reload", false, "follow the configuration file: log level and aliases change without a restart")
	config.AddFlags(cmd.Flags())
	return cmd
}

// serve runs the host until ctx ends, and then stops it in order.
func serve(ctx context.Context, s streams, cfg *config.Config, file string, again func() (*config.Config, error)) error {
	out := logs.NewBuffered(s.err)
	defer out.Close()
	level := new(slog.LevelVar)
	base, err := logs.New(out, level, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return err
	}
	log := logs.Named(base, "host")
	calls := host.NewCalls(workers(cfg))
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if _, err := fitLimits(cfg, calls, reg, log); err != nil {
		return err
	}
	loads, err := newLoadMetrics(reg)
	if err != nil {
		return err
	}
	state, err := stateDir(cfg, log)
	if err != nil {
		return err
	}
	with, closeBackends := openBackendsWith(cfg, state, base)
	defer closeBackends()
	only, err := readOnly(cfg.Models.Only)
	if err != nil {
		return err
	}
	registry, err := host.New(host.Config{
		Dir: cfg.Models.Dir, CacheSize: cfg.Models.CacheSize, CacheBytes: cfg.Models.CacheBytes, Default: cfg.Models.Default,
		Preload: cfg.Models.Preload, Pinned: cfg.Models.Pinned, Lazy: cfg.Models.Lazy, Immutable: cfg.Models.Immutable,
		Only: only, StateDir: snapshotDir(state),
		Now: time.Now, Random: rand.Float64, Log: logs.Named(base, "models"), Observe: loads,
	}, with, calls)
	if err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(cfg.Server.Host, strconv.Itoa(cfg.Server.Port)))
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	tlsConfig, err := readTLS(cfg.Server.TLS)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	local := isLoopback(ln.Addr())
	if !local && !cfg.Server.Insecure {
		log.Warn("no authentication is configured and the address is open to others: routes that change the host answer local callers only", "address", ln.Addr().String())
	}
	server, err := rest.New(rest.Config{
		Version: version, Timeout: cfg.Server.Timeouts.Request, BodyLimit: int(cfg.Server.Limits.Body), MaxRows: cfg.Server.Limits.Rows,
		Inflight: cfg.Server.Limits.Inflight, Connections: cfg.Server.Limits.Connections, Full: calls.Full,
		Insecure: cfg.Server.Insecure, Loopback: local, Remote: cfg.Server.Environment == config.Production,
		Hosts: cfg.Server.Hosts, Origins: cfg.Server.Origins, DefaultModel: cfg.Models.Default, Now: time.Now,
		Samples: cfg.Server.Samples.Size, SamplesToken: cfg.Server.Samples.Token,
		Log: logs.Named(base, "rest"), Predictions: logs.NewPredictions(out, level, cfg.Log.Format, base),
	}, registry, reg)
	if err != nil {
		return errors.Join(err, ln.Close())
	}

	following, stopFollowing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFollowing()
	var wg sync.WaitGroup
	catalog := &host.Catalog{
		Dir: cfg.Models.Dir, Rescan: cfg.Models.Rescan, Settle: settleTime, Now: time.Now, Log: logs.Named(base, "catalog"), Apply: registry.Apply,
	}
	wg.Go(func() { _ = catalog.Follow(following) })
	wg.Go(func() { setAliases(following, registry, cfg, log) })
	if again != nil {
		wg.Go(func() { followConfig(following, file, again, registry, level, log) })
	}
	log.Info("serving", "address", ln.Addr().String(), "version", version, "environment", cfg.Server.Environment,
		"models", cfg.Models.Dir, "workers", workers(cfg))
	failed := make(chan error, 1)
	wg.Go(func() { failed <- server.Serve(ln, tlsConfig) })
	select {
	case err = <-failed:
	case <-ctx.Done():
		err = nil
		log.Info("stopping", "drain", cfg.Server.Drain.String())
		server.Drain()
		wait(failed, cfg.Server.Drain)
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.Server.Timeouts.Shutdown)
	defer cancel()
	err = errors.Join(err, server.Shutdown(end))
	stopFollowing()
	wg.Wait()
	err = errors.Join(err, registry.Close(end))
	log.Info("stopped")
	return err
}

func readOnly(names []string) ([]host.Only, error) {
	out := make([]host.Only, 0, len(names))
	for _, name := range names {
		o, err := host.ParseOnly(name)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// wait waits for a time, or until the server fails.
func wait(failed chan error, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case err := <-failed:
		failed <- err
	case <-t.C:
	}
}

// setAliases points the aliases once the models of the first look are loaded.
func setAliases(ctx context.Context, registry *host.Registry, cfg *config.Config, log *slog.Logger) {
	select {
	case <-registry.Ready():
	case <-ctx.Done():
		return
	}
	all := map[string]host.Aliases{}
	for id, a := range cfg.Models.Aliases {
		all[id] = host.Aliases{Names: a.Names, Default: a.Default}
	}
	for _, err := range registry.SetAliases(ctx, all) {
		log.Error("alias not set", "error", err)
	}
}

func readTLS(files config.TLS) (*tls.Config, error) {
	if files.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, fmt.Errorf("reading the TLS certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// loadMetrics tells Prometheus about loads.
type loadMetrics struct {
	duration *prometheus.HistogramVec
	failures *prometheus.CounterVec
}

func newLoadMetrics(reg *prometheus.Registry) (*loadMetrics, error) {
	labels := []string{"model_id", "version"}
	m := &loadMetrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "model_load_duration_seconds", Help: "Time to load a model, its probe included.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2.5, 10),
		}, labels),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "model_load_failures_total", Help: "Versions, or changes to versions, that were not loaded.",
		}, labels),
	}
	for _, c := range []prometheus.Collector{m.duration, m.failures} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, nil
}

// Loaded implements host.Observer.
func (m *loadMetrics) Loaded(model *host.Model, took time.Duration) {
	m.duration.WithLabelValues(model.ID(), model.Version()).Observe(took.Seconds())
}

// LoadFailed implements host.Observer.
func (m *loadMetrics) LoadFailed(id, version string, _ error) {
	m.failures.WithLabelValues(id, version).Inc()
}

// Removed implements host.Observer.
func (m *loadMetrics) Removed(id, version string) {
	m.duration.DeleteLabelValues(id, version)
	m.failures.DeleteLabelValues(id, version)
}
