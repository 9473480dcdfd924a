// Package monitoring holds the tests that let a real Prometheus read a real host: its
// rules load, every panel of docs/grafana shows something, and the names of the metrics
// are what Prometheus's own linter wants.
//
// They need bin/prometheus and bin/promtool: make test-monitoring builds both. What raises
// an alert is in docs/alerts_test.yaml, which promtool runs.
package monitoring
