package gate_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
	"github.com/pynomaly/pynomaly-runtime/runtime/stats"
)

// counted returns what a host counts of n scores between edges.
func counted(edges []float64, sketched bool, n int, score func(i int) float64) gate.Sample {
	c := stats.New(edges)
	for i := range n {
		c.Record(&stats.Call{Scores: []float64{score(i)}, Threshold: math.Inf(1)})
	}
	s := c.Snapshot()
	out := api.Stats{
		Requests: uint64(n), Rows: s.Rows, Scored: s.Scored, Failed: s.Failed, ScoreMin: &s.Low, ScoreMax: &s.High,
		Histogram: api.Histogram{Edges: s.Edges, Counts: s.Bins}, Durations: histogram([]float64{0.001}, uint64(n), 0),
	}
	if sketched {
		fine := c.Sketch()
		out.Sketch = &api.Sketch{Edges: fine.Edges, Counts: fine.Counts}
	}
	return gate.FromStats(&out)
}

// TestBinsThatTell checks that bins of the training data, or stable's quantiles,
// show differences that fixed bins hide, and that no gate passes where no bins show
// them.
func TestBinsThatTell(t *testing.T) {
	fixed, none := stats.DefaultEdges(), []float64(nil)
	var r *rand.Rand // seeded anew for each case
	normal := func(mean, sd float64) func(int) float64 {
		return func(int) float64 { return mean + sd*r.NormFloat64() }
	}
	always := func(v float64) func(int) float64 { return func(int) float64 { return v } }
	mostly := func(v float64, other func(int) float64) func(int) float64 {
		return func(i int) float64 {
			if i%20 > 0 {
				return v
			}
			return other(i)
		}
	}
	training := []float64{1e6 - 1.28, 1e6 - 0.84, 1e6 - 0.52, 1e6 - 0.25, 1e6, 1e6 + 0.25, 1e6 + 0.52, 1e6 + 0.84, 1e6 + 1.28}
	type side struct {
		edges    []float64
		score    func(int) float64
		unsketch bool
		n        int // 0: enough
	}
	for name, c := range map[string]struct {
		stable, update   side
		constant, scores gate.Result
	}{
		"spread, and always its mean":       {side{edges: fixed, score: normal(30, 3)}, side{edges: fixed, score: always(30)}, gate.Fail, gate.Fail},
		"far apart, in one fixed bin":       {side{edges: fixed, score: normal(2000, 300)}, side{edges: fixed, score: normal(9000, 300)}, gate.Pass, gate.Fail},
		"the same, in one fixed bin":        {side{edges: fixed, score: normal(2000, 300)}, side{edges: fixed, score: normal(2000, 300)}, gate.Pass, gate.Pass},
		"the same, other training bins":     {side{edges: []float64{29, 30, 31}, score: normal(30, 3)}, side{edges: []float64{28, 30, 33}, score: normal(30, 3)}, gate.Pass, gate.Pass},
		"shifted, other training bins":      {side{edges: []float64{29, 30, 31}, score: normal(30, 3)}, side{edges: []float64{28, 30, 33}, score: normal(36, 3)}, gate.Pass, gate.Fail},
		"other bins, no sketch":             {side{edges: []float64{29, 30, 31}, score: normal(30, 3), unsketch: true}, side{edges: fixed, score: normal(30, 3)}, gate.CannotTell, gate.CannotTell},
		"in one fixed bin, no sketch":       {side{edges: fixed, score: normal(30, 3), unsketch: true}, side{edges: fixed, score: normal(30, 3), unsketch: true}, gate.Pass, gate.CannotTell},
		"too narrow for any bins":           {side{edges: fixed, score: normal(1e6+7000, 1)}, side{edges: fixed, score: normal(1e6+7000, 1)}, gate.CannotTell, gate.CannotTell},
		"too narrow, and constant":          {side{edges: fixed, score: normal(1e6+7000, 1)}, side{edges: fixed, score: always(1e6 + 7000)}, gate.CannotTell, gate.CannotTell},
		"narrow, and bins of training":      {side{edges: training, score: normal(1e6, 1)}, side{edges: training, score: normal(1e6, 1)}, gate.Pass, gate.Pass},
		"narrow, training, and constant":    {side{edges: training, score: normal(1e6, 1)}, side{edges: training, score: always(1e6)}, gate.Fail, gate.Fail},
		"one score, the same":               {side{edges: fixed, score: always(7)}, side{edges: fixed, score: always(7)}, gate.Pass, gate.Pass},
		"one score, another in its bin":     {side{edges: fixed, score: always(7)}, side{edges: fixed, score: always(7.001)}, gate.CannotTell, gate.CannotTell},
		"one score, and another far off":    {side{edges: fixed, score: always(7)}, side{edges: fixed, score: always(9)}, gate.CannotTell, gate.Fail},
		"one score, and spread":             {side{edges: fixed, score: always(7)}, side{edges: fixed, score: normal(7, 2)}, gate.Pass, gate.Fail},
		"mostly 0, the same":                {side{edges: fixed, score: mostly(0, normal(3, 1))}, side{edges: fixed, score: mostly(0, normal(3, 1))}, gate.Pass, gate.Pass},
		"mostly one score that is not 0":    {side{edges: fixed, score: mostly(5, normal(3, 1))}, side{edges: fixed, score: mostly(5, normal(3, 1))}, gate.Pass, gate.CannotTell},
		"nothing counted":                   {side{edges: fixed, score: normal(0, 1)}, side{edges: fixed, score: always(1), n: -1}, gate.Inconclusive, gate.Inconclusive},
		"too few for the bins to matter":    {side{edges: fixed, score: normal(1e6+7000, 1)}, side{edges: fixed, score: always(1e6 + 7000), n: 100}, gate.Inconclusive, gate.Inconclusive},
		"huge":                              {side{edges: fixed, score: normal(0, 1e300)}, side{edges: fixed, score: normal(0, 1e300)}, gate.Pass, gate.Pass},
		"no bins at all":                    {side{edges: none, score: normal(30, 3)}, side{edges: none, score: always(30)}, gate.Fail, gate.Fail},
		"wrong way round":                   {side{edges: fixed, score: func(int) float64 { return r.ExpFloat64() }}, side{edges: fixed, score: func(int) float64 { return -r.ExpFloat64() }}, gate.Pass, gate.Fail},
		"few of stable, and always a score": {side{edges: fixed, score: normal(30, 3), n: 20}, side{edges: fixed, score: always(30)}, gate.Inconclusive, gate.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			r = rand.New(rand.NewPCG(1, 2))
			make := func(s side) gate.Sample {
				n := 2000
				if s.n != 0 {
					n = max(s.n, 0)
				}
				return counted(s.edges, !s.unsketch, n, s.score)
			}
			all := gate.Evaluate(gate.Defaults(), make(c.stable), make(c.update), 1)
			for g, want := range map[string]gate.Result{gate.Constant: c.constant, gate.Scores: c.scores} {
				if v := result(t, all, g); v.Result != want {
					t.Errorf("%+v, want %s", v, want)
				}
			}
		})
	}
}

// TestTogether checks that CannotTell outranks Inconclusive, which more samples
// resolve, and that skipped gates do not count.
func TestTogether(t *testing.T) {
	v := func(r gate.Result) gate.Verdict { return gate.Verdict{Gate: string(r), Result: r} }
	for _, c := range []struct {
		all  []gate.Verdict
		want gate.Result
	}{
		{nil, gate.Pass},
		{[]gate.Verdict{v(gate.Skipped), v(gate.Pass)}, gate.Pass},
		{[]gate.Verdict{v(gate.Pass), v(gate.Inconclusive), v(gate.CannotTell)}, gate.CannotTell},
		{[]gate.Verdict{v(gate.CannotTell), v(gate.Error)}, gate.Error},
		{[]gate.Verdict{v(gate.Error), v(gate.Fail)}, gate.Fail},
	} {
		if got, _ := gate.Together(c.all); got != c.want {
			t.Errorf("%v: %s, want %s", c.all, got, c.want)
		}
	}
}

// TestSkip checks that gates in Skip give no verdict.
func TestSkip(t *testing.T) {
	l := gate.Defaults()
	l.Skip = []string{gate.Scores, gate.Constant}
	s := counted(stats.DefaultEdges(), true, 2000, func(int) float64 { return 7 })
	u := counted(stats.DefaultEdges(), true, 2000, func(int) float64 { return 7.001 })
	if got, why := gate.Together(gate.Evaluate(gate.Defaults(), s, u, 1)); got != gate.CannotTell {
		t.Errorf("%s: %s", got, why)
	}
	if got, why := gate.Together(gate.Evaluate(l, s, u, 1)); got != gate.Pass {
		t.Errorf("%s: %s", got, why)
	}
}
