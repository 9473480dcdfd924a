package rest

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
	"github.com/pynomaly/pynomaly-runtime/runtime/stats"
)

// durations is a histogram of requests' durations: with classic buckets, with native
// ones for scrapers that take them, and with examples of traces.
type durations struct {
	prometheus.Metric // the classic histogram
	native            prometheus.Metric
}

// newDurations returns the histogram of a snapshot.
func newDurations(d *prometheus.Desc, s *stats.Snapshot, st registry.Status) (prometheus.Metric, error) {
	var count uint64
	fine := make(map[int]int64, len(s.LatencyFine))
	for i, n := range s.LatencyFine {
		fine[i] = int64(n)
		count += n
	}
	// Requests that were counted during the snapshot may be in the classic buckets
	// only. Prometheus wants one count for both.
	cumulative := make(map[float64]uint64, len(s.LatencyEdges))
	var sum uint64
	for i, edge := range s.LatencyEdges {
		sum += s.Latency[i]
		cumulative[edge.Seconds()] = min(sum, count)
	}
	classic, err := prometheus.NewConstHistogram(d, count, s.LatencySum.Seconds(), cumulative, st.ID, st.Version)
	if err != nil {
		return nil, fmt.Errorf("making a histogram: %w", err)
	}
	native, err := prometheus.NewConstNativeHistogram(d, count, s.LatencySum.Seconds(), fine, nil, 0, stats.LatencySchema, prometheus.DefNativeHistogramZeroThreshold, st.Changed, st.ID, st.Version)
	if err != nil {
		return nil, fmt.Errorf("making a native histogram: %w", err)
	}
	if len(s.LatencyExamples) > 0 {
		var all []prometheus.Exemplar
		for _, e := range s.LatencyExamples {
			all = append(all, prometheus.Exemplar{Value: e.Took.Seconds(), Timestamp: e.At, Labels: prometheus.Labels{"trace_id": e.TraceID}})
		}
		if classic, err = prometheus.NewMetricWithExemplars(classic, all...); err != nil {
			return nil, fmt.Errorf("adding exemplars: %w", err)
		}
	}
	return &durations{classic, native}, nil
}

// Write implements prometheus.Metric.
func (m *durations) Write(out *dto.Metric) error {
	var native dto.Metric
	if err := m.native.Write(&native); err != nil {
		return fmt.Errorf("writing a native histogram: %w", err)
	}
	if err := m.Metric.Write(out); err != nil {
		return fmt.Errorf("writing a histogram: %w", err)
	}
	h, n := out.GetHistogram(), native.GetHistogram()
	h.Schema, h.ZeroThreshold, h.ZeroCount, h.PositiveSpan, h.PositiveDelta = n.Schema, n.ZeroThreshold, n.ZeroCount, n.PositiveSpan, n.PositiveDelta
	return nil
}
