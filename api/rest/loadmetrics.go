package rest

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// LoadMetrics exports metrics of loads to Prometheus.
type LoadMetrics struct {
	duration *prometheus.HistogramVec
	failures *prometheus.CounterVec
}

// NewLoadMetrics registers the metrics of loads.
func NewLoadMetrics(reg *prometheus.Registry) (*LoadMetrics, error) {
	labels := []string{"model_id", "version"}
	m := &LoadMetrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "model_load_duration_seconds", Help: "Time to load a model, including its probe.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2.5, 10), NativeHistogramBucketFactor: 1.2, NativeHistogramMaxBucketNumber: 100,
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

// Loaded implements registry.Observer.
func (m *LoadMetrics) Loaded(model *model.Model, took time.Duration) {
	m.duration.WithLabelValues(model.ID(), model.Version()).Observe(took.Seconds())
}

// LoadFailed implements registry.Observer.
func (m *LoadMetrics) LoadFailed(id, version string, _ error) {
	m.failures.WithLabelValues(id, version).Inc()
}

// Removed implements registry.Observer.
func (m *LoadMetrics) Removed(id, version string) {
	m.duration.DeleteLabelValues(id, version)
	m.failures.DeleteLabelValues(id, version)
}
