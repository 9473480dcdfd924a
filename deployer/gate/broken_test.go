package gate_test

import (
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
)

// sampleOf returns a sample of rows whose scores are spread over four bins, or all 5.
func sampleOf(rows int64, constant bool) gate.Sample {
	n := uint64(rows)
	s := gate.Sample{
		Requests: rows, Rows: rows, Scores: api.Histogram{Edges: []float64{1, 2, 3}, Counts: []uint64{n / 4, n / 4, n / 4, n - 3*(n/4)}},
		Durations: api.Histogram{Edges: []float64{0.1, 1}, Counts: []uint64{n, 0, 0}}, Unsketched: true, Span: &gate.Span{Low: 0, High: 4},
	}
	if constant {
		s.Scores.Counts, s.Span = []uint64{0, 0, 0, n}, &gate.Span{Low: 5, High: 5}
	}
	return s
}

func resultOf(all []gate.Verdict, name string) gate.Result {
	for _, v := range all {
		if v.Gate == name {
			return v.Result
		}
	}
	return ""
}

// TestAlone checks what still holds for a revision that replaces a broken one.
func TestAlone(t *testing.T) {
	limits := gate.Defaults()
	for name, c := range map[string]struct {
		change func(*gate.Sample)
		gate   string
		want   gate.Result
		all    gate.Result
	}{
		"good":                  {func(*gate.Sample) {}, gate.Errors, gate.Pass, gate.Pass},
		"slow":                  {func(s *gate.Sample) { s.Durations.Counts = []uint64{0, 0, 2000} }, gate.Latency, gate.Skipped, gate.Pass},
		"all anomalies":         {func(s *gate.Sample) { s.Anomalies = s.Rows }, gate.Anomalies, gate.Skipped, gate.Pass},
		"errors":                {func(s *gate.Sample) { s.Requests, s.Errors = 1800, 200 }, gate.Errors, gate.Fail, gate.Fail},
		"failed rows":           {func(s *gate.Sample) { s.Failed = 200 }, gate.Errors, gate.Fail, gate.Fail},
		"errors of the gateway": {func(s *gate.Sample) { s.Gateway = &gate.Gateway{Requests: 2000, Errors: 200} }, gate.Errors, gate.Fail, gate.Fail},
		"a good gateway":        {func(s *gate.Sample) { s.Gateway = &gate.Gateway{Requests: 2000} }, gate.Errors, gate.Pass, gate.Pass},
		"NaN":                   {func(s *gate.Sample) { s.Nonfinite = 100 }, gate.Nonfinite, gate.Fail, gate.Fail},
		"constant":              {func(s *gate.Sample) { *s = sampleOf(2000, true) }, gate.Constant, gate.Fail, gate.Fail},
		"one bin":               {func(s *gate.Sample) { *s = sampleOf(2000, true); s.Span = nil }, gate.Constant, gate.CannotTell, gate.CannotTell},
		"too few":               {func(s *gate.Sample) { *s = sampleOf(500, false) }, gate.Errors, gate.Inconclusive, gate.Inconclusive},
		"too few, and constant": {func(s *gate.Sample) { *s = sampleOf(500, true) }, gate.Constant, gate.Inconclusive, gate.Inconclusive},
	} {
		s := sampleOf(2000, false)
		c.change(&s)
		all := gate.Alone(limits, s, 1, "it is broken")
		if got, _ := gate.Together(all); got != c.all || resultOf(all, c.gate) != c.want {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

// TestOdd checks that a stable revision that answers constants or errors is noticed, that
// failures of comparisons with it are no failures then, and that a healthy one is not
// suspected.
func TestOdd(t *testing.T) {
	limits := gate.Defaults()
	failing := sampleOf(2000, false)
	failing.Requests, failing.Errors = 1600, 400
	shifted := sampleOf(2000, false)
	shifted.Scores.Counts = []uint64{1900, 50, 25, 25}
	for name, c := range map[string]struct {
		stable, update gate.Sample
		odd            string
		want           gate.Result
	}{
		"constants":            {sampleOf(2000, true), sampleOf(2000, false), gate.Constant, gate.CannotTell},
		"errors":               {failing, shifted, gate.Errors, gate.CannotTell},
		"healthy":              {sampleOf(2000, false), shifted, "", gate.Fail},
		"the new one's errors": {sampleOf(2000, false), failing, "", gate.Fail},
	} {
		odd := gate.Odd(limits, c.stable, c.update, 1)
		if (odd == "") != (c.odd == "") || !strings.Contains(odd, c.odd) {
			t.Errorf("%s: %q", name, odd)
		}
		got, says := gate.Together(gate.Against(odd, gate.Evaluate(limits, c.stable, c.update, 1)))
		if got != c.want || odd != "" && !strings.Contains(says, "--replace-broken") {
			t.Errorf("%s: %s, %s", name, got, says)
		}
	}
	pairs := make([]gate.Pair, 100)
	for i := range pairs {
		pairs[i] = gate.Pair{Stable: 5, Update: float64(i)}
	}
	if gate.OddPairs(pairs) == "" || gate.OddPairs(pairs[:10]) != "" {
		t.Error("constants on replayed rows")
	}
	if pairs[0].Stable = 4; gate.OddPairs(pairs) != "" {
		t.Error("it is not constant")
	}
}
