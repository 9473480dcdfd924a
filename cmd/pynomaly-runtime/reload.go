package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/logs"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// configEvery is how often the configuration's files are looked at.
const configEvery = time.Second

// reloader takes up what changes without a restart: the log level, the aliases and
// the TLS certificate.
type reloader struct {
	file     string // of the configuration
	read     func() (*config.Config, error)
	follow   bool // the files, and not only signals
	signals  <-chan os.Signal
	tls      config.TLS // at the start
	cert     *certificate
	registry *registry.Registry
	level    *slog.LevelVar
	log      *slog.Logger
}

// run reloads after a SIGHUP, and when a file has changed, until ctx ends.
func (r *reloader) run(ctx context.Context) {
	var ticks <-chan time.Time
	if r.follow {
		tick := time.NewTicker(configEvery)
		defer tick.Stop()
		ticks = tick.C
	}
	seen := r.look()
	var before []string
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-r.signals:
			if s != syscall.SIGHUP {
				r.log.Warn("a signal without a meaning was received", "signal", s.String())
				continue
			}
			seen = r.look()
			r.reload(ctx)
		case <-ticks:
			now := r.look()
			if slices.Equal(now, seen) || vanished(now, seen) {
				continue
			}
			if !slices.Equal(now, before) { // one may be half written: two looks must agree
				before = now
				continue
			}
			seen = now
			r.reload(ctx)
		}
	}
}

// absent is how a file looks that is not there, or empty: it is about to be written.
const absent = ""

// look returns what changes when the files do.
func (r *reloader) look() []string {
	var out []string
	for _, file := range []string{r.file, r.tls.Cert, r.tls.Key} {
		stamp := absent
		if info, err := os.Stat(file); err == nil && info.Size() > 0 {
			stamp = fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size())
		}
		out = append(out, stamp)
	}
	return out
}

// vanished says whether a file that was there is not.
func vanished(now, before []string) bool {
	for i := range now {
		if now[i] == absent && before[i] != absent {
			return true
		}
	}
	return false
}

// reload reads the configuration. A file with mistakes changes nothing.
func (r *reloader) reload(ctx context.Context) {
	cfg, err := r.read()
	if err != nil {
		r.log.Error("the changed configuration is not taken up", "file", r.file, "error", err)
		return
	}
	switch {
	case cfg.Server.TLS != r.tls:
		r.log.Error("other TLS files are taken up at the next start only; the contents of those in use, at once")
	case r.tls.Cert != "":
		if err := r.cert.read(r.tls); err != nil {
			r.log.Error("the TLS certificate is not taken up: the one in use stays", "error", err)
		}
	}
	if err := logs.SetLevel(r.level, cfg.Log.Level); err != nil {
		r.log.Error("the log level is not taken up", "error", err)
	}
	setAliases(ctx, r.registry, cfg, r.log)
	r.log.Info("configuration reloaded", "file", r.file)
}

// setAliases points the aliases once the models of the first look are loaded.
func setAliases(ctx context.Context, r *registry.Registry, cfg *config.Config, log *slog.Logger) {
	select {
	case <-r.Ready():
	case <-ctx.Done():
		return
	}
	all := map[string]registry.Aliases{}
	for id, a := range cfg.Models.Aliases {
		all[id] = registry.Aliases{Names: a.Names, Default: a.Default}
	}
	for _, err := range r.SetAliases(ctx, all) {
		log.Error("alias not set", "error", err)
	}
}
