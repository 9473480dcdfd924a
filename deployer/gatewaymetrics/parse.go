// Package gatewaymetrics reads what a gateway counts for the Services behind it:
// requests, failures and durations. Hosts do not know of a request that failed before
// it reached them.
//
// Traefik's and Envoy's own pages of metrics are understood, and a Prometheus that has
// scraped them.
package gatewaymetrics

import (
	"fmt"
	"io"
	"math"
	"strconv"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// The metrics that are read.
const (
	traefikRequests  = "traefik_service_requests_total"
	traefikDurations = "traefik_service_request_duration_seconds"
	envoyRequests    = "envoy_cluster_upstream_rq_xx"
	envoyDurations   = "envoy_cluster_upstream_rq_time"
	processStart     = "process_start_time_seconds"
)

// Series is one line of a page of metrics. The buckets of a histogram are lines of
// their own, with the suffix _bucket and the label le, whose values are cumulative.
type Series struct {
	Name   string
	Labels map[string]string
	Value  float64
}

// Parse reads the text format of Prometheus. It returns the series that this package
// understands and leaves out all others.
func Parse(r io.Reader) ([]Series, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r)
	if err != nil {
		return nil, fmt.Errorf("parsing metrics: %w", err)
	}
	var out []Series
	for _, name := range []string{traefikRequests, traefikDurations, envoyRequests, envoyDurations, processStart} {
		for _, suffix := range []string{"", "_bucket"} { // a histogram without a type has its buckets in another family
			family := families[name+suffix]
			for _, m := range family.GetMetric() {
				out = append(out, flat(name+suffix, m)...)
			}
		}
	}
	return out, nil
}

// flat returns the lines of a metric.
func flat(name string, m *dto.Metric) []Series {
	labels := map[string]string{}
	for _, l := range m.GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	switch {
	case m.GetCounter() != nil:
		return []Series{{name, labels, m.GetCounter().GetValue()}}
	case m.GetGauge() != nil:
		return []Series{{name, labels, m.GetGauge().GetValue()}}
	case m.GetUntyped() != nil:
		return []Series{{name, labels, m.GetUntyped().GetValue()}}
	case m.GetHistogram() == nil:
		return nil
	}
	var out []Series
	for _, b := range m.GetHistogram().GetBucket() {
		all := map[string]string{"le": strconv.FormatFloat(b.GetUpperBound(), 'g', -1, 64)}
		for k, v := range labels {
			all[k] = v
		}
		out = append(out, Series{name + "_bucket", all, float64(b.GetCumulativeCount())})
	}
	return out
}

// number converts a value to a count.
func number(v float64) (int64, error) {
	if !(v >= 0 && v < 1<<53) { // not a number either
		return 0, fmt.Errorf("%v is not a count", v)
	}
	return int64(math.Round(v)), nil
}
