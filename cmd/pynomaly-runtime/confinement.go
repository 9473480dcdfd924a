package main

import (
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/internal/child"
)

// showConfinement says how well the processes that prove graphs and compile modules are
// confined here, and exports it.
func showConfinement(c child.Confinement, reg *prometheus.Registry, log *slog.Logger) error {
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
