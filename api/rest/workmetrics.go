package rest

import (
	"fmt"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// workMetrics exports metrics of the models' detectors to Prometheus.
type workMetrics struct {
	server *Server

	slots, busy, stuck, waiting, oldest, calls *prometheus.Desc
	instances, wanted, restarts, open, fuel    *prometheus.Desc
	build, models, bytes                       *prometheus.Desc
}

func newWorkMetrics(s *Server, reg *prometheus.Registry) error {
	version := []string{"model_id", "version"}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	m := &workMetrics{
		server:    s,
		slots:     desc("model_slots", "Calls that a version's detector may run at the same time.", version...),
		busy:      desc("model_slots_busy", "Calls that run.", version...),
		stuck:     desc("model_slots_stuck", "Calls that run past their deadline.", version...),
		waiting:   desc("model_queue_rows", "Single rows that wait for a call.", version...),
		oldest:    desc("model_queue_oldest_seconds", "How long the first single row has waited for a call.", version...),
		calls:     desc("model_call_rows", "Rows of each call of the detector.", version...),
		instances: desc("model_instances", "Instances of a module, or processes of a plugin, that are up.", version...),
		wanted:    desc("model_instances_wanted", "Instances or processes that may be up.", version...),
		restarts:  desc("model_process_restarts_total", "Processes of a plugin that ended and were started again.", version...),
		open:      desc("model_circuit_open", "1 while all processes of a plugin are down and wait before they are started again.", version...),
		fuel:      desc("model_fuel_units_total", "Units that calls of a module have taken: about as many nanoseconds.", version...),
		build:     desc("host_build_info", "1, labelled with the build.", "version", "go_version"),
		models:    desc("host_models_loaded", "Versions that are loaded."),
		bytes:     desc("host_models_cache_bytes", "Memory of loaded models (estimated)."),
	}
	if err := reg.Register(m); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}

// Describe implements prometheus.Collector.
func (m *workMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.slots, m.busy, m.stuck, m.waiting, m.oldest, m.calls, m.instances, m.wanted, m.restarts, m.open, m.fuel, m.build, m.models, m.bytes} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *workMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(m.build, 1, m.server.cfg.Version, runtime.Version())
	loaded, bytes := 0, int64(0)
	now := m.server.cfg.Now()
	m.server.registry.Loaded(func(one *model.Model) {
		loaded++
		bytes += one.Bytes()
		m.collect(ch, one, now, one.ID(), one.Version())
	})
	gauge(m.models, float64(loaded))
	gauge(m.bytes, float64(bytes))
}

// collect sends the metrics of one model's detector.
func (m *workMetrics) collect(ch chan<- prometheus.Metric, of *model.Model, now time.Time, labels ...string) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	f := of.Figures(now)
	send(m.slots, prometheus.GaugeValue, float64(f.Slots))
	send(m.busy, prometheus.GaugeValue, float64(f.Busy))
	send(m.stuck, prometheus.GaugeValue, float64(f.Stuck))
	send(m.waiting, prometheus.GaugeValue, float64(f.Waiting))
	send(m.oldest, prometheus.GaugeValue, f.Oldest.Seconds())
	var count uint64
	cumulative := make(map[float64]uint64, len(batching.CallSizes))
	for i, n := range f.Calls {
		count += n
		if i < len(batching.CallSizes) {
			cumulative[float64(batching.CallSizes[i])] = count
		}
	}
	ch <- prometheus.MustNewConstHistogram(m.calls, count, float64(f.Rows), cumulative, labels...)
	u, ok := of.Usage()
	if !ok {
		return
	}
	send(m.instances, prometheus.GaugeValue, float64(u.Instances))
	send(m.wanted, prometheus.GaugeValue, float64(u.Wanted))
	if u.Metered {
		send(m.fuel, prometheus.CounterValue, float64(u.Fuel))
		return
	}
	send(m.restarts, prometheus.CounterValue, float64(u.Restarts))
	send(m.open, prometheus.GaugeValue, map[bool]float64{true: 1}[u.Waits])
}
