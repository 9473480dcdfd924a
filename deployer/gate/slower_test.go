package gate_test

import (
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
)

// TestSlower checks that an increase of a few milliseconds is no failure, however many
// times a fast model's duration it is, and that its limit can be set.
func TestSlower(t *testing.T) {
	edges := []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025}
	durations := func(counts []uint64) api.Histogram {
		return histogram(edges, append(counts, make([]uint64, len(edges)+1-len(counts))...)...)
	}
	fast := durations([]uint64{0, 500, 450, 50})
	for name, c := range map[string]struct {
		slower float64
		counts []uint64
		want   gate.Result
		says   string
	}{
		"ten times as slow, by 2 ms":                {0.005, []uint64{0, 300, 400, 50, 50, 200}, gate.Pass, "not 0.005 s more"},
		"the same, but 1 ms is the limit":           {0.001, []uint64{0, 300, 400, 50, 50, 200}, gate.Fail, ""},
		"the same, without a limit":                 {0, []uint64{0, 300, 400, 50, 50, 200}, gate.Fail, ""},
		"slower by 10 ms":                           {0.005, []uint64{0, 300, 400, 50, 50, 0, 0, 200}, gate.Fail, ""},
		"slower by 10 ms, for one row in a hundred": {0.005, []uint64{0, 500, 400, 50, 40, 0, 0, 10}, gate.Pass, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := gate.Defaults()
			l.Slower = c.slower
			stable, update := gate.Sample{Rows: 1000, Requests: 1000, Durations: fast}, gate.Sample{Rows: 1000, Requests: 1000, Durations: durations(c.counts)}
			if v := result(t, gate.Evaluate(l, stable, update, 1), gate.Latency); v.Result != c.want || !strings.Contains(v.Message, c.says) {
				t.Errorf("%+v, want %s", v, c.want)
			}
		})
	}
}
