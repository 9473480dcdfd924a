// Package hostmetrics exports metrics of the host itself to Prometheus.
package hostmetrics

import (
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/internal/child"
	"github.com/pynomaly/pynomaly-runtime/internal/logs"
)

// DroppedLines exports how many lines of the log were dropped.
func DroppedLines(reg *prometheus.Registry, out *logs.Buffered) error {
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

// Confinement logs and exports how the processes that check graphs and compile
// modules are confined.
func Confinement(c child.Confinement, reg *prometheus.Registry, log *slog.Logger) error {
	if c.Seccomp && c.Landlock {
		log.Info("confinement", "seccomp", c.Seccomp, "landlock", c.Landlock)
	} else {
		log.Warn("confinement: this kernel or container lets children be confined in part only", "seccomp", c.Seccomp, "landlock", c.Landlock)
	}
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "host_confinement", Help: "Whether children are confined by it: 1 or 0.",
	}, []string{"by"})
	for by, holds := range map[string]bool{"seccomp": c.Seccomp, "landlock": c.Landlock} {
		if holds {
			gauge.WithLabelValues(by).Set(1)
		} else {
			gauge.WithLabelValues(by).Set(0)
		}
	}
	if err := reg.Register(gauge); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}
