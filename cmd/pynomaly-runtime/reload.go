package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/logs"
	host "github.com/pynomaly/pynomaly-runtime/runtime"
)

// configEvery is how often the configuration file is looked at.
const configEvery = time.Second

// followConfig takes up what changes without a restart, the log level and the
// aliases, when the file does. A file with mistakes changes nothing.
func followConfig(ctx context.Context, file string, read func() (*config.Config, error), registry *host.Registry, level *slog.LevelVar, log *slog.Logger) {
	if file == "" {
		file = defaultConfig
	}
	look := func() (time.Time, int64) {
		info, err := os.Stat(file)
		if err != nil {
			return time.Time{}, 0
		}
		return info.ModTime(), info.Size()
	}
	seen, size := look()
	var before time.Time
	tick := time.NewTicker(configEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, n := look()
		if (now.Equal(seen) && n == size) || n == 0 {
			continue
		}
		if !now.Equal(before) { // it may be half written: two looks must agree
			before = now
			continue
		}
		seen, size = now, n
		cfg, err := read()
		if err != nil {
			log.Error("the changed configuration is not taken up", "file", file, "error", err)
			continue
		}
		if err := logs.SetLevel(level, cfg.Log.Level); err != nil {
			log.Error("the log level is not taken up", "error", err)
		}
		setAliases(ctx, registry, cfg, log)
		log.Info("configuration reloaded", "file", file)
	}
}
