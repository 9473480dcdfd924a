package hostmetrics

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/internal/child"
)

// TestConfinementIsShown checks that missing confinement gives a warning and a zero.
func TestConfinementIsShown(t *testing.T) {
	for _, c := range []struct {
		has     child.Confinement
		log     string
		metrics string
	}{
		{child.Confinement{Seccomp: true, Landlock: true}, "level=INFO msg=confinement seccomp=true landlock=true", "1 1"},
		{child.Confinement{Seccomp: true}, "level=WARN", "0 1"},
		{child.Confinement{}, "seccomp=false landlock=false", "0 0"},
	} {
		var log bytes.Buffer
		reg := prometheus.NewRegistry()
		if err := Confinement(c.has, reg, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), c.log) {
			t.Errorf("%+v: %s", c.has, log.String())
		}
		families, err := reg.Gather()
		if err != nil || len(families) != 1 || families[0].GetName() != "host_confinement" {
			t.Fatalf("%v, %v", families, err)
		}
		var values []string
		for _, m := range families[0].GetMetric() { // sorted by label
			values = append(values, fmt.Sprint(m.GetGauge().GetValue()))
		}
		if got := strings.Join(values, " "); got != c.metrics {
			t.Errorf("%+v: %s", c.has, got)
		}
	}
}
