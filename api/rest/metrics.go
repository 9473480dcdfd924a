package rest

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/pynomaly/pynomaly-runtime/internal/until"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// metrics collects the counters of models as Prometheus metrics. Label values come
// from existing models, never from requests.
type metrics struct {
	server *Server

	predictions, rows, scored, lost, anomalies, nonfinite, panics, resets, unwell, errors, loaded, failed, sockets, leases *prometheus.Desc
	duration, score, connections, inflight                                                                                 *prometheus.Desc
}

func newMetrics(s *Server, reg *prometheus.Registry) (*metrics, error) {
	version := []string{"model_id", "version"}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	m := &metrics{
		server:      s,
		predictions: desc("model_predictions_total", "Prediction requests answered.", version...),
		duration:    desc("model_prediction_duration_seconds", "Time from a request's last byte to its answer.", version...),
		errors:      desc("model_errors_total", "Requests that failed, by type; without a model where none was found.", "model_id", "version", "error_type"),
		rows:        desc("model_rows_total", "Rows passed to the detector.", version...),
		scored:      desc("model_rows_scored_total", "Rows that have a score.", version...),
		lost:        desc("model_rows_failed_total", "Rows without a score, of all requests, by type.", "model_id", "version", "error_type"),
		anomalies:   desc("model_anomalies_total", "Rows scored above the threshold.", version...),
		nonfinite:   desc("model_nonfinite_total", "Rows whose score was NaN or infinite.", version...),
		panics:      desc("model_detector_panics_total", "How often a version's detector panicked.", version...),
		unwell:      desc("model_unwell", "1 while a loaded version cannot answer.", version...),
		resets:      desc("model_state_resets_total", "How often a stateful model fell back to its last snapshot since it was loaded.", version...),
		score:       desc("model_score", "Oriented scores, on the edges of the manifest's drift bins.", version...),
		loaded:      desc("model_loaded", "1 for a version that is loaded, else 0.", version...),
		failed:      desc("model_load_failed", "1 for a version whose last load, or change, failed; failure is file, or surroundings where it is tried again.", "model_id", "version", "failure"),
		leases:      desc("model_leases", "Requests that hold a model right now."),
		sockets:     desc("model_websocket_connections", "Open WebSocket connections."),
		connections: desc("host_connections", "Open connections of clients."),
		inflight:    desc("host_inflight_bytes", "Bytes of requests and answers that are held, without the buffers of each connection."),
	}
	if err := reg.Register(m); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return m, nil
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.predictions, m.duration, m.errors, m.rows, m.scored, m.lost, m.anomalies, m.nonfinite, m.panics, m.unwell, m.resets, m.score, m.loaded, m.failed, m.sockets, m.leases, m.connections, m.inflight} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	all, err := m.server.registry.List("")
	if err != nil {
		ch <- prometheus.NewInvalidMetric(m.loaded, err)
		return
	}
	for _, st := range all {
		loaded := 0.0
		if st.State == registry.StateLoaded {
			loaded = 1
		}
		ch <- prometheus.MustNewConstMetric(m.loaded, prometheus.GaugeValue, loaded, st.ID, st.Version)
		unwell := 0.0
		if st.Unwell != nil {
			unwell = 1
		}
		ch <- prometheus.MustNewConstMetric(m.unwell, prometheus.GaugeValue, unwell, st.ID, st.Version)
		if st.Failure != "" {
			ch <- prometheus.MustNewConstMetric(m.failed, prometheus.GaugeValue, 1, st.ID, st.Version, string(st.Failure))
		}
		if st.Facts == nil {
			continue
		}
		s := st.Facts.Stats.Snapshot()
		counter(m.predictions, s.Requests, st.ID, st.Version)
		counter(m.rows, s.Rows, st.ID, st.Version)
		counter(m.scored, s.Scored, st.ID, st.Version)
		counter(m.anomalies, s.Anomalies, st.ID, st.Version)
		counter(m.nonfinite, s.Nonfinite, st.ID, st.Version)
		counter(m.panics, s.Panics, st.ID, st.Version)
		counter(m.resets, st.Facts.Resets, st.ID, st.Version)
		for t, n := range s.Errors {
			counter(m.errors, n, st.ID, st.Version, t)
		}
		for t, n := range s.Failed {
			counter(m.lost, n, st.ID, st.Version, t)
		}
		if d, err := newDurations(m.duration, &s, st); err != nil {
			ch <- prometheus.NewInvalidMetric(m.duration, err)
		} else {
			ch <- d
		}
		ch <- histogram(m.score, s.Edges, s.Bins, s.Sum, st)
	}
	m.server.mu.Lock()
	failures := maps.Clone(m.server.failures)
	m.server.mu.Unlock()
	for t, n := range failures {
		counter(m.errors, n, "", "", string(t))
	}
	_, leases := m.server.registry.Counts()
	ch <- prometheus.MustNewConstMetric(m.leases, prometheus.GaugeValue, float64(leases))
	ch <- prometheus.MustNewConstMetric(m.sockets, prometheus.GaugeValue, float64(m.server.sockets.count()))
	ch <- prometheus.MustNewConstMetric(m.connections, prometheus.GaugeValue, float64(m.server.OpenConnections()))
	ch <- prometheus.MustNewConstMetric(m.inflight, prometheus.GaugeValue, float64(m.server.budget.used.Load()))
}

// histogram converts counts per bin to Prometheus's cumulative form.
func histogram(d *prometheus.Desc, edges []float64, bins []uint64, sum float64, st registry.Status) prometheus.Metric {
	cumulative := make(map[float64]uint64, len(edges))
	var count uint64
	for i, n := range bins {
		count += n
		if i < len(edges) {
			cumulative[edges[i]] = count
		}
	}
	return prometheus.MustNewConstHistogram(d, count, sum, cumulative, st.ID, st.Version)
}

// metricsHandler answers GET /metrics, without the models that a caller may not see.
func (s *Server) metricsHandler(reg *prometheus.Registry) fiber.Handler {
	exposition := promhttp.HandlerOpts{EnableOpenMetrics: true} // which has exemplars
	all := adaptor.HTTPHandler(promhttp.HandlerFor(reg, exposition))
	return func(c *fiber.Ctx) error {
		sees := viewer(principalOf(c))
		if sees == nil {
			return all(c)
		}
		seen := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
			families, err := reg.Gather()
			for _, f := range families {
				f.Metric = slices.DeleteFunc(f.Metric, func(m *dto.Metric) bool { return !seesMetric(sees, m) })
			}
			return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return len(f.Metric) == 0 }), err
		})
		return adaptor.HTTPHandler(promhttp.HandlerFor(seen, exposition))(c)
	}
}

// seesMetric reports whether a metric concerns a model that the principal may see,
// or none.
func seesMetric(sees until.Principal, m *dto.Metric) bool {
	for _, l := range m.GetLabel() {
		if l.GetName() == "model_id" && l.GetValue() != "" && !sees.Sees(l.GetValue()) {
			return false
		}
	}
	return true
}

func inSeconds(all []time.Duration) []float64 {
	out := make([]float64, len(all))
	for i, d := range all {
		out[i] = d.Seconds()
	}
	return out
}
