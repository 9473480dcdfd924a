package gate_test

import (
	"math"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
)

func histogram(edges []float64, counts ...uint64) api.Histogram {
	return api.Histogram{Edges: edges, Counts: counts}
}

// healthy returns the counters of a side with n requests, a tenth of them anomalies.
func healthy(n int64) gate.Sample {
	u := uint64(n)
	return gate.Sample{
		Requests: n, Rows: n, Anomalies: n / 10,
		Scores:    histogram([]float64{1, 2, 3}, u/2, u/4, u/8, u-u/2-u/4-u/8),
		Durations: histogram([]float64{0.001, 0.0025, 0.005}, u*9/10, u-u*9/10, 0, 0),
	}
}

func result(t *testing.T, all []gate.Verdict, name string) gate.Verdict {
	t.Helper()
	for _, v := range all {
		if v.Gate == name {
			return v
		}
	}
	t.Fatalf("there is no gate %s", name)
	return gate.Verdict{}
}

func TestGates(t *testing.T) {
	l := gate.Defaults()
	for name, c := range map[string]struct {
		change func(*gate.Sample)
		gate   string
		want   gate.Result
	}{
		"the same":             {func(*gate.Sample) {}, gate.Errors, gate.Pass},
		"errors":               {func(s *gate.Sample) { s.Requests, s.Errors = 950, 50 }, gate.Errors, gate.Fail},
		"a few errors":         {func(s *gate.Sample) { s.Requests, s.Errors = 995, 5 }, gate.Errors, gate.Pass},
		"all errors":           {func(s *gate.Sample) { *s = gate.Sample{Errors: 60} }, gate.Errors, gate.Fail},
		"rows of batches":      {func(s *gate.Sample) { s.Requests, s.Failed = 10, 500 }, gate.Errors, gate.Fail},
		"a few of them":        {func(s *gate.Sample) { s.Requests, s.Failed = 10, 5 }, gate.Errors, gate.Pass},
		"nonfinite":            {func(s *gate.Sample) { s.Nonfinite = 30 }, gate.Nonfinite, gate.Fail},
		"one nonfinite":        {func(s *gate.Sample) { s.Nonfinite = 1 }, gate.Nonfinite, gate.Pass},
		"constant":             {func(s *gate.Sample) { s.Scores = histogram([]float64{1, 2, 3}, 0, 1000, 0, 0) }, gate.Constant, gate.Fail},
		"many anomalies":       {func(s *gate.Sample) { s.Anomalies = 400 }, gate.Anomalies, gate.Fail},
		"no anomalies":         {func(s *gate.Sample) { s.Anomalies = 0 }, gate.Anomalies, gate.Fail},
		"some more anomalies":  {func(s *gate.Sample) { s.Anomalies = 140 }, gate.Anomalies, gate.Pass},
		"other scores":         {func(s *gate.Sample) { s.Scores = histogram([]float64{1, 2, 3}, 125, 125, 250, 500) }, gate.Scores, gate.Fail},
		"other bins":           {func(s *gate.Sample) { s.Scores = histogram([]float64{1}, 125, 875) }, gate.Scores, gate.CannotTell},
		"slow":                 {func(s *gate.Sample) { s.Durations = histogram([]float64{0.001, 0.0025, 0.005}, 0, 0, 200, 800) }, gate.Latency, gate.Fail},
		"some slow":            {func(s *gate.Sample) { s.Durations = histogram([]float64{0.001, 0.0025, 0.005}, 900, 90, 10, 0) }, gate.Latency, gate.Pass},
		"too few to be sure":   {func(s *gate.Sample) { *s = healthy(60) }, gate.Anomalies, gate.Inconclusive},
		"nothing":              {func(s *gate.Sample) { *s = gate.Sample{} }, gate.Scores, gate.Inconclusive},
		"bad, but only chance": {func(s *gate.Sample) { *s = healthy(60); s.Anomalies = 9 }, gate.Anomalies, gate.Inconclusive},
	} {
		t.Run(name, func(t *testing.T) {
			s := healthy(1000)
			c.change(&s)
			all := gate.Evaluate(l, healthy(9000), s, 1)
			if v := result(t, all, c.gate); v.Result != c.want {
				t.Errorf("%+v, want %s", v, c.want)
			}
			if together, why := gate.Together(all); c.want == gate.Fail && (together != gate.Fail || why == "") {
				t.Errorf("together: %s, %q", together, why)
			}
		})
	}
}

// TestLooks checks that the looks together spend at most alpha.
func TestLooks(t *testing.T) {
	sum := 0.0
	for k := 1; k < 1_000_000; k++ {
		sum += 6 / math.Pow(math.Pi*float64(k), 2)
	}
	if sum > 1 {
		t.Errorf("the looks spend %v", sum)
	}
	l := gate.Look{}
	if l.Due(49) || !l.Due(50) {
		t.Error("the first look is at 50 rows")
	}
	if l = l.Next(100); l.Due(119) || !l.Due(120) || l.K != 1 {
		t.Errorf("%+v", l)
	}
}

// TestTracker checks that the counts from before the beginning are left out, that
// those of removed pods stay, and that a restart of a process loses nothing.
func TestTracker(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	rows := func(n int64) gate.Sample {
		return gate.Sample{Rows: n, Requests: n, Scores: histogram([]float64{1}, uint64(n), 0)}
	}
	tr := gate.NewTracker(at(100))
	tr.Update([]gate.Pod{{"old", at(10), rows(1000)}, {"new", at(105), rows(5)}})
	if s := tr.Sum(); s.Rows != 5 {
		t.Errorf("%+v", s)
	}
	tr.Update([]gate.Pod{{"old", at(10), rows(1010)}})
	tr.Update([]gate.Pod{{"old", at(120), rows(3)}, {"new", at(105), rows(6)}})
	if s := tr.Sum(); s.Rows != 19 || s.Requests != 19 || s.Scores.Counts[0] != 19 || s.Mixed {
		t.Errorf("%+v", s)
	}
	tr.Update([]gate.Pod{{"other", at(130), gate.Sample{Rows: 1, Scores: histogram([]float64{2}, 1, 0)}}})
	if s := tr.Sum(); !s.Mixed {
		t.Errorf("other bins were added up: %+v", s)
	}
}

func TestRatio(t *testing.T) {
	if differ, chi2 := gate.Ratio(100, 900, 10, 1e-6); differ || chi2 != 0 {
		t.Errorf("%v %v", differ, chi2)
	}
	if differ, _ := gate.Ratio(500, 500, 10, 1e-6); !differ {
		t.Error("half for a tenth is no difference")
	}
	if differ, _ := gate.Ratio(500, 500, 100, 1e-6); differ {
		t.Error("all has nothing to compare with")
	}
}

func FuzzEvaluate(f *testing.F) {
	f.Add(int64(1000), int64(0), int64(100), int64(0), uint64(5), uint64(7), 3)
	f.Add(int64(-1), int64(-5), int64(1<<62), int64(9), uint64(0), uint64(1)<<63, 0)
	f.Fuzz(func(t *testing.T, rows, errs, anomalies, nonfinite int64, a, b uint64, k int) {
		s := gate.Sample{Requests: rows, Rows: rows, Errors: errs, Anomalies: anomalies, Nonfinite: nonfinite,
			Scores: histogram([]float64{1}, a, b), Durations: histogram([]float64{1}, b, a)}
		for _, pair := range [][2]gate.Sample{{healthy(500), s}, {s, healthy(500)}, {s, s}} {
			all := gate.Evaluate(gate.Defaults(), pair[0], pair[1], k)
			if _, why := gate.Together(all); len(all) != 6 {
				t.Errorf("%d verdicts: %s", len(all), why)
			}
		}
	})
}

// TestPaired compares both revisions on the same rows.
func TestPaired(t *testing.T) {
	l := gate.Defaults()
	make := func(n int, update func(i int, p *gate.Pair)) []gate.Pair {
		out := []gate.Pair{}
		for i := range n {
			x := float64(i*7919%n) / float64(n)
			p := gate.Pair{Stable: x, Update: x, StableAnomaly: x > 0.9, UpdateAnomaly: x > 0.9}
			update(i, &p)
			out = append(out, p)
		}
		return out
	}
	for name, c := range map[string]struct {
		n      int
		update func(i int, p *gate.Pair)
		want   gate.Result
	}{
		"the same":              {200, func(int, *gate.Pair) {}, gate.Pass},
		"another scale":         {200, func(_ int, p *gate.Pair) { p.Update = math.Exp(p.Stable) }, gate.Pass},
		"too few":               {49, func(int, *gate.Pair) {}, gate.Inconclusive},
		"flipped":               {60, func(_ int, p *gate.Pair) { p.Update, p.UpdateAnomaly = -p.Stable, p.Stable < 0.1 }, gate.Fail},
		"flipped, no threshold": {60, func(_ int, p *gate.Pair) { p.Update, p.StableAnomaly, p.UpdateAnomaly = -p.Stable, false, false }, gate.Fail},
		"constant":              {60, func(_ int, p *gate.Pair) { p.Update, p.UpdateAnomaly = 0, false }, gate.Fail},
		"stable is constant": {60, func(i int, p *gate.Pair) {
			p.Stable, p.StableAnomaly, p.UpdateAnomaly, p.Update = 0, false, false, float64(i%3)*1e-15
		}, gate.Pass},
		"fails every third row": {100, func(i int, p *gate.Pair) {
			if i%3 == 0 {
				p.Update, p.UpdateAnomaly = math.NaN(), false
			}
		}, gate.Fail},
		"three of a hundred": {100, func(i int, p *gate.Pair) { p.UpdateAnomaly = p.UpdateAnomaly != (i%33 == 5) }, gate.Pass},
		"a tenth, perhaps":   {60, func(i int, p *gate.Pair) { p.UpdateAnomaly = p.UpdateAnomaly != (i%8 == 0) }, gate.Inconclusive},
	} {
		t.Run(name, func(t *testing.T) {
			if v := gate.Paired(l, make(c.n, c.update), 1); v.Result != c.want || v.N != int64(c.n) || v.Message == "" {
				t.Errorf("%+v, want %s", v, c.want)
			}
		})
	}
}

// TestPairedLimits checks limits of 0, under which no row may differ.
func TestPairedLimits(t *testing.T) {
	l := gate.Defaults()
	l.Disagree, l.Rank = 0, 0
	var pairs []gate.Pair
	for i := range 60 {
		pairs = append(pairs, gate.Pair{Stable: float64(i), Update: float64(i), UpdateAnomaly: i == 59})
	}
	if v := gate.Paired(l, pairs, 1); v.Result != gate.Fail {
		t.Errorf("%+v", v)
	}
}

// FuzzPaired checks that any scores give a verdict, and that equal scores pass.
func FuzzPaired(f *testing.F) {
	f.Add([]byte{1, 2, 3, 255}, uint8(3))
	f.Fuzz(func(t *testing.T, raw []byte, k uint8) {
		var same, other []gate.Pair
		for i, c := range raw {
			x := float64(c)
			same = append(same, gate.Pair{Stable: x, Update: x, StableAnomaly: c > 200, UpdateAnomaly: c > 200})
			y := float64(raw[len(raw)-1-i])
			if y == 255 {
				y = math.NaN()
			}
			other = append(other, gate.Pair{Stable: x, Update: y, StableAnomaly: c > 200, UpdateAnomaly: y > 100})
		}
		if v := gate.Paired(gate.Defaults(), same, int(k)); v.Result == gate.Fail || v.Result == gate.Error {
			t.Errorf("the same scores: %+v", v)
		}
		if v := gate.Paired(gate.Defaults(), other, int(k)); v.Result == gate.Error || math.IsNaN(v.Statistic) {
			t.Errorf("%+v", v)
		}
	})
}

// TestFailedRows checks that the gates see what hosts count of batches. A request
// that fails as a whole is one failure, however many rows it had.
func TestFailedRows(t *testing.T) {
	stats := func(requests, scored uint64, errors, failed map[string]uint64) *api.Stats {
		return &api.Stats{
			Requests: requests, Errors: errors, Rows: scored, Scored: scored, Failed: failed,
			Histogram: histogram([]float64{1, 2, 3}, scored/2, scored/4, scored/8, scored-scored/2-scored/4-scored/8),
			Durations: histogram([]float64{0.001}, requests, 0),
		}
	}
	kind := func(name api.ErrorType, n uint64) map[string]uint64 { return map[string]uint64{string(name): n} }
	none := map[string]uint64{}
	for name, c := range map[string]struct {
		stable, update *api.Stats
		want           gate.Result
	}{
		"half of the rows of batches":  {stats(1000, 10_000, none, none), stats(200, 1000, none, kind(api.RowError, 1000)), gate.Fail},
		"the detector fails at half":   {stats(1000, 10_000, none, none), stats(200, 1000, none, kind(api.ScoringError, 1000)), gate.Fail},
		"as many of stable's":          {stats(1000, 5000, none, kind(api.RowError, 5000)), stats(200, 1000, none, kind(api.RowError, 1000)), gate.Pass},
		"one large batch was too late": {stats(10_000, 10_000, none, none), stats(2000, 2000, kind(api.DeadlineExceeded, 1), kind(api.DeadlineExceeded, 10_000)), gate.Pass},
		"many were too late":           {stats(10_000, 10_000, none, none), stats(2000, 2000, kind(api.DeadlineExceeded, 200), kind(api.DeadlineExceeded, 2000)), gate.Fail},
		"clients that left":            {stats(10_000, 10_000, none, none), stats(2000, 2000, none, kind(api.ClientGone, 2000)), gate.Pass},
		"a stable host that does not count them": {
			stats(10_000, 10_000, kind(api.RowError, 500), nil), stats(2000, 2000, kind(api.RowError, 100), kind(api.RowError, 100)), gate.Pass,
		},
	} {
		t.Run(name, func(t *testing.T) {
			all := gate.Evaluate(gate.Defaults(), gate.FromStats(c.stable), gate.FromStats(c.update), 1)
			if v := result(t, all, gate.Errors); v.Result != c.want {
				t.Errorf("%+v, want %s", v, c.want)
			}
		})
	}
}
