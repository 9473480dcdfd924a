// Package reload applies changes of the configuration while a host runs: after a
// SIGHUP and, if files are followed, when they change.
package reload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
)

// Reloader applies one part of a configuration.
type Reloader struct {
	Name string
	// Prepare checks the part without changing anything, and returns a function that
	// applies it. That function cannot fail and returns early when its context ends.
	Prepare func(*config.Config) (apply func(context.Context), err error)
}

// Config configures a List.
type Config struct {
	File      string // of the configuration, for the log and to follow
	Read      func() (*config.Config, error)
	Follow    func(*config.Config) []string // returns further files to follow; nil: no file is followed
	Reloaders []Reloader
	Done      func(error) // told how each reload went; nil: nobody is
	Signals   <-chan os.Signal
	Now       func() time.Time
	Log       *slog.Logger
}

// List holds everything that can be reloaded.
type List struct {
	Config
	current    *config.Config
	successful prometheus.Gauge
	succeeded  prometheus.Gauge
	reloads    *prometheus.CounterVec // by result
}

// The results of reloads.
const (
	applied = "applied"
	refused = "refused"
)

// New returns a List. Its state is that of the configuration with which the host
// started. It registers metrics about reloads.
func New(c Config, current *config.Config, reg prometheus.Registerer) (*List, error) {
	l := &List{
		Config: c, current: current,
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "config_last_reload_successful", Help: "Whether the last reload of the configuration succeeded: 1 or 0.",
		}),
		succeeded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "config_last_reload_success_timestamp_seconds", Help: "When the configuration was last loaded successfully, as Unix time.",
		}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "config_reloads_total", Help: "Reloads of the configuration, by result: applied or refused.",
		}, []string{"result"}),
	}
	for _, result := range []string{applied, refused} {
		l.reloads.WithLabelValues(result)
	}
	for _, g := range []prometheus.Collector{l.successful, l.succeeded, l.reloads} {
		if err := reg.Register(g); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	l.succeed()
	return l, nil
}

func (l *List) succeed() {
	l.successful.Set(1)
	l.succeeded.Set(float64(l.Now().UnixMilli()) / 1e3)
}

// Run reloads after a SIGHUP and after a followed file has changed, until ctx ends.
func (l *List) Run(ctx context.Context) {
	var ticks <-chan time.Time
	if l.Follow != nil {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		ticks = tick.C
	}
	w := watch{files: l.files}
	w.begin()
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-l.Signals:
			if s != syscall.SIGHUP {
				l.Log.Warn("ignored a signal without a function", "signal", s.String())
				continue
			}
		case <-ticks:
			if !w.changed() {
				continue
			}
		}
		w.begin()
		l.reload(ctx)
	}
}

// files returns the followed files.
func (l *List) files() []string {
	if l.Follow == nil {
		return nil
	}
	return append([]string{l.File}, l.Follow(l.current)...)
}

func (l *List) reload(ctx context.Context) {
	if err := l.Reload(ctx); err != nil {
		l.Log.Error("the changed configuration was not applied: the old one stays in use", "file", l.File, "error", err)
		return
	}
	l.Log.Info("configuration reloaded", "file", l.File)
}

// Reload reads the configuration and applies all of it. If a part cannot be applied,
// Reload applies nothing; the error names each such part. Run calls Reload, so do
// not call both concurrently.
func (l *List) Reload(ctx context.Context) (err error) {
	if l.Done != nil {
		defer func() { l.Done(err) }()
	}
	apply, cfg, err := l.prepare()
	if err != nil {
		l.successful.Set(0)
		l.reloads.WithLabelValues(refused).Inc()
		return err
	}
	for _, f := range apply {
		f(ctx)
	}
	l.current = cfg
	l.succeed()
	l.reloads.WithLabelValues(applied).Inc()
	return nil
}

func (l *List) prepare() ([]func(context.Context), *config.Config, error) {
	cfg, err := l.Read()
	if err != nil {
		return nil, nil, err
	}
	var apply []func(context.Context)
	var errs []error
	for _, r := range l.Reloaders {
		f, err := r.Prepare(cfg)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.Name, err))
			continue
		}
		apply = append(apply, f)
	}
	return apply, cfg, errors.Join(errs...)
}
