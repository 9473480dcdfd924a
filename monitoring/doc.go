// Package monitoring holds the tests that let a real Prometheus read a real host: its
// rules load, every panel of docs/grafana shows something, and the names of the metrics
// are what Prometheus's own linter wants. OpenTelemetry's collector takes its traces.
//
// They need bin/prometheus, bin/promtool and bin/collector: make test-monitoring builds
// them. What raises an alert is in docs/alerts_test.yaml, which promtool runs.
package monitoring
