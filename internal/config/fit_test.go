package config_test

import (
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
)

func TestFit(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		name   string
		memory int64
		files  uint64
		set    config.Limits
		want   config.Limits
		cache  int64
	}{
		{"no limits", 0, 0, config.Limits{}, config.Limits{Inflight: 256 << 20, Waiting: 262144, Connections: 65536}, 2 * gib},
		{"a large machine", 64 * gib, 1 << 20, config.Limits{}, config.Limits{Inflight: 256 << 20, Waiting: 262144, Connections: 65536}, 2 * gib},
		{"a small container", 256 << 20, 1024, config.Limits{}, config.Limits{Inflight: 64 << 20, Body: (64 << 20) / 3, Waiting: 65536, Connections: 768}, 128 << 20},
		{"next to nothing", 1 << 20, 4, config.Limits{}, config.Limits{Body: (4 << 20) / 3, Inflight: 4 << 20, Waiting: 1024, Connections: 16}, 512 << 10},
		{"as configured", 256 << 20, 1024, config.Limits{Inflight: 5 << 20, Waiting: 7, Connections: 9}, config.Limits{Body: (5 << 20) / 3, Inflight: 5 << 20, Waiting: 7, Connections: 9}, 128 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config.Default()
			c.set.Body, c.set.Rows = cfg.Server.Limits.Body, cfg.Server.Limits.Rows
			c.want.Rows = c.set.Rows
			if c.want.Body == 0 {
				c.want.Body = c.set.Body
			}
			cfg.Server.Limits = c.set
			cfg.Fit(c.memory, c.files)
			if cfg.Server.Limits != c.want || cfg.Models.CacheBytes != c.cache {
				t.Errorf("%+v and a cache of %d, want %+v and %d", cfg.Server.Limits, cfg.Models.CacheBytes, c.want, c.cache)
			}
		})
	}
	cfg := config.Default()
	cfg.Models.CacheBytes = 3 * gib
	if cfg.Fit(gib, 0); cfg.Models.CacheBytes != 3*gib {
		t.Errorf("a cache that was asked for became %d", cfg.Models.CacheBytes)
	}
}
