package main

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/listener"
	"github.com/pynomaly/pynomaly-runtime/internal/logs"
	"github.com/pynomaly/pynomaly-runtime/internal/reload"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// reloaders lists what changes without a restart.
func reloaders(level *slog.LevelVar, cert *listener.Certificate, a *aliases, door *entrance) []reload.Reloader {
	return []reload.Reloader{
		{Name: "log", Prepare: func(cfg *config.Config) (func(context.Context), error) {
			l, err := logs.ParseLevel(cfg.Log.Level)
			return func(context.Context) { level.Set(l) }, err
		}},
		{Name: "certificates", Prepare: func(cfg *config.Config) (func(context.Context), error) {
			use, err := cert.Prepare(cfg.Server.TLS)
			return func(context.Context) { use() }, err
		}},
		{Name: "access", Prepare: door.reload}, // keys, tokens, roles, certificates' roles, limits
		{Name: "aliases", Prepare: func(cfg *config.Config) (func(context.Context), error) { // checked by config
			return func(ctx context.Context) { a.set(ctx, cfg) }, nil
		}},
	}
}

// followed are the files whose contents are taken up beside the configuration's.
func followed(cfg *config.Config) []string {
	if cfg.Server.TLS.Cert == "" {
		return nil
	}
	files := []string{cfg.Server.TLS.Cert, cfg.Server.TLS.Key}
	if cfg.Server.TLS.ClientCA != "" {
		files = append(files, cfg.Server.TLS.ClientCA)
	}
	return files
}

// aliases points the registry's aliases to versions, as the last configuration says.
type aliases struct {
	registry *registry.Registry
	log      *slog.Logger
	last     atomic.Pointer[config.Config]
	mu       sync.Mutex // held while aliases are set
}

// set points the aliases once the models of the first look are loaded.
func (a *aliases) set(ctx context.Context, cfg *config.Config) {
	a.last.Store(cfg)
	a.point(ctx)
}

func (a *aliases) point(ctx context.Context) {
	select {
	case <-a.registry.Ready():
	case <-ctx.Done():
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	all := map[string]registry.Aliases{}
	for id, of := range a.last.Load().Models.Aliases {
		all[id] = registry.Aliases{Names: of.Names, Default: of.Default}
	}
	for _, err := range a.registry.SetAliases(ctx, all) {
		a.log.Error("alias not set", "error", err)
	}
}
