package hostlimits_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/hostlimits"
)

type rows struct{ limit int }

func (r *rows) LimitRows(most int) { r.limit = most }
func (r *rows) Rows() int64        { return 7 }

// TestFit checks that Fit fills in what is open, keeps what is set, and that metrics
// and the log agree.
func TestFit(t *testing.T) {
	cfg := config.Default()
	cfg.Server.Limits.Waiting = 5000
	cfg.Server.Limits.Connections = 1 << 30
	var log strings.Builder
	reg, r := prometheus.NewRegistry(), new(rows)
	if err := hostlimits.Fit(cfg, r, reg, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	if r.limit != 5000 || cfg.Server.Limits.Inflight <= 0 {
		t.Errorf("%d rows, %+v", r.limit, cfg.Server.Limits)
	}
	if !strings.Contains(log.String(), "more connections are configured than files may be open") || !strings.Contains(log.String(), "waiting_rows=5000") {
		t.Error(log.String())
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
	}
	if got["host_waiting_rows"] != 7 || got["host_waiting_rows_limit"] != 5000 || got["host_inflight_limit_bytes"] != float64(cfg.Server.Limits.Inflight) || len(got) != 7 {
		t.Errorf("%v", got)
	}
}
