// Package hostlimits adapts a host's limits to the memory, the files and the threads
// that it may have.
package hostlimits

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/internal/cgroup"
	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/memory"
)

// Rows counts the rows of all requests that wait or are being scored.
type Rows interface {
	LimitRows(most int)
	Rows() int64
}

// Fit fills in the limits that cfg leaves open, logs them, and exports them as
// metrics.
func Fit(cfg *config.Config, rows Rows, reg prometheus.Registerer, log *slog.Logger) error {
	limit, source := cgroup.Memory("/")
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	cfg.Fit(limit, files.Cur)
	ofGo := memory.KeepGoBelow(limit)
	l := cfg.Server.Limits
	rows.LimitRows(l.Waiting)
	if uint64(l.Connections) >= files.Cur {
		log.Warn("more connections are configured than files may be open: raise the limit of open files, or lower server.limits.connections", "connections", l.Connections, "files", files.Cur)
	}
	log.Info("limits", "memory_bytes", limit, "memory_source", source, "go_memory_bytes", ofGo, "files", files.Cur,
		"connections", l.Connections, "inflight_bytes", l.Inflight, "body_bytes", l.Body, "waiting_rows", l.Waiting, "cache_bytes", cfg.Models.CacheBytes, "spare_threads", reserveThreads())
	for _, g := range []struct {
		name, help string
		value      func() float64
	}{
		{"host_memory_limit_bytes", "Memory that the control groups let the host use; 0: no limit.", constant(limit)},
		{"host_go_memory_limit_bytes", "Memory below which Go's collector keeps Go's part.", constant(ofGo)},
		{"host_inflight_limit_bytes", "Bytes of requests and answers that may be held at the same time.", constant(l.Inflight)},
		{"host_connections_limit", "Connections that may be open at the same time.", constant(int64(l.Connections))},
		{"host_waiting_rows_limit", "Rows of all requests that may wait or be scored at the same time.", constant(int64(l.Waiting))},
		{"host_waiting_rows", "Rows of all requests that wait or are being scored.", func() float64 { return float64(rows.Rows()) }},
		{"host_models_cache_limit_bytes", "Memory of loaded models (estimated) beyond which one is unloaded.", constant(cfg.Models.CacheBytes)},
	} {
		if err := reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, g.value)); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// ReadBytes returns how many bytes of models' files loads may hold at the same time:
// a quarter of Go's memory limit, so that many large files in the models directory
// do not end the host.
func ReadBytes() int64 { return min(1<<30, debug.SetMemoryLimit(-1)/4) }

func constant(n int64) func() float64 { return func() float64 { return float64(n) } }
