package main

import (
	"context"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/logs"
	"github.com/pynomaly/pynomaly-runtime/internal/reload"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// reloaders returns the parts that can change without a restart.
func (h *running) reloaders(models *registry.Registry) []reload.Reloader {
	return []reload.Reloader{
		{Name: "log", Prepare: func(cfg *config.Config) (func(context.Context), error) {
			l, err := logs.ParseLevel(cfg.Log.Level)
			return func(context.Context) { h.level.Set(l); h.lines.Sample(cfg.Log.Sample) }, err
		}},
		{Name: "certificates", Prepare: func(cfg *config.Config) (func(context.Context), error) {
			use, err := h.cert.Prepare(cfg.Server.TLS)
			return func(context.Context) { use() }, err
		}},
		{Name: "access", Prepare: h.door.Reload}, // keys, tokens, roles, certificates' roles, limits
		{Name: "traces", Prepare: h.traces.Reload},
		{Name: "cors", Prepare: func(cfg *config.Config) (func(context.Context), error) {
			return func(context.Context) { h.server.SetOrigins(cfg.Server.Origins) }, nil
		}},
		{Name: "aliases", Prepare: func(cfg *config.Config) (func(context.Context), error) {
			all := aliasesOf(cfg)
			return func(ctx context.Context) {
				for _, err := range models.SetAliases(ctx, all) {
					h.Log.Error("alias not set", "error", err)
				}
			}, models.CheckAliases(all)
		}},
	}
}

// followed returns the files that are followed besides the configuration.
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

// aliasesOf returns the aliases of a configuration.
func aliasesOf(cfg *config.Config) map[string]registry.Aliases {
	all := map[string]registry.Aliases{}
	for id, of := range cfg.Models.Aliases {
		all[id] = registry.Aliases{Names: of.Names, Default: of.Default}
	}
	return all
}
