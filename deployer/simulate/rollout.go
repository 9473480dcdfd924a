package simulate

import (
	"math"
	"math/rand/v2"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// The kinds of new versions.
const (
	Good     = "as good"
	Flipped  = "flipped orientation"
	Shifted  = "shifted scores"
	NaN      = "NaN on 2 % of rows"
	Slow     = "3x latency"
	Features = "wrong features"
)

// Kinds returns the kinds of bad versions.
func Kinds() []string { return []string{Flipped, Shifted, NaN, Slow, Features} }

// traffic draws what requests to a version count as.
type traffic struct {
	scores, durations []float64 // cumulative probabilities of the bins
	edges, seconds    []float64
	threshold         int // index of the first bin whose scores are anomalies
	nonfinite, errors float64
}

// bins returns the cumulative probabilities of a normal distribution at edges.
func bins(edges []float64, mean, sd float64) []float64 {
	out := make([]float64, len(edges)+1)
	for i, e := range edges {
		out[i] = 0.5 * math.Erfc(-(e-mean)/(sd*math.Sqrt2))
	}
	out[len(edges)] = 1
	return out
}

// version returns the traffic of a version. Scores are standard normal and a
// twentieth of them are anomalies. Durations are log-normal around 2 ms.
func version(kind string) traffic {
	t := traffic{edges: []float64{-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.645, 2, 2.5}, threshold: 7}
	t.seconds = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
	mean, latency := 0.0, 0.002
	switch kind {
	case Shifted:
		mean = 1
	case NaN:
		t.nonfinite = 0.02
	case Slow:
		latency *= 3
	case Features:
		t.errors = 1
	}
	t.scores = bins(t.edges, mean, 1)
	if kind == Flipped { // a skewed score reversed: normal rows become extreme
		t.scores = bins(t.edges, 2.5, 1)
	}
	logs := make([]float64, len(t.seconds))
	for i, s := range t.seconds {
		logs[i] = math.Log(s)
	}
	t.durations = bins(logs, math.Log(latency), 0.5)
	return t
}

func draw(cumulative []float64, u float64) int {
	for i, c := range cumulative {
		if u < c {
			return i
		}
	}
	return len(cumulative) - 1
}

// count adds n requests to a host's counters.
func (t traffic) count(s *gate.Sample, n int, r *rand.Rand) {
	if s.Scores.Counts == nil {
		s.Scores = api.Histogram{Edges: t.edges, Counts: make([]uint64, len(t.edges)+1)}
		s.Durations = api.Histogram{Edges: t.seconds, Counts: make([]uint64, len(t.seconds)+1)}
	}
	for range n {
		if r.Float64() < t.errors {
			s.Errors++
			s.Rows++
			s.Failed++
			continue
		}
		s.Requests++
		s.Rows++
		s.Durations.Counts[draw(t.durations, r.Float64())]++
		if r.Float64() < t.nonfinite {
			s.Nonfinite++
			continue
		}
		bin := draw(t.scores, r.Float64())
		s.Scores.Counts[bin]++
		if bin > t.threshold {
			s.Anomalies++
		}
	}
}

// Outcome describes how a rollout ended.
type Outcome struct {
	Promoted bool
	Exposed  int   // requests that the new version served before the decision
	Weight   int32 // its largest share, in percent
	Gate     string
	Seconds  float64
}

// Rollout rolls out a version of the given kind by the strategy how, at rate
// requests a second.
func Rollout(kind, how string, rate int, r *rand.Rand) Outcome {
	c := NewCluster(time.Unix(0, 0))
	c.Spec = v1alpha1.ModelDeploymentSpec{Replicas: 4, Strategy: v1alpha1.Strategy{Type: how, Window: &metav1.Duration{Duration: time.Second}}}
	c.Update, c.Gate = "a", strategy.Pass
	c.Run(100)
	c.Update = "b"
	sides := map[string]*gate.Sample{"a": {}, "b": {}}
	kinds := map[string]traffic{"a": version(Good), "b": version(kind)}
	if how == v1alpha1.BlueGreen { // compared with the stable version's earlier traffic
		kinds["a"].count(sides["a"], 5000, r)
	}
	var look gate.Look
	var verdicts []gate.Verdict
	step := int32(-1)
	out := Outcome{}
	begun := c.Now
	for range 7200 {
		c.GateSays = ""
		c.Gate = strategy.NotRun
		if verdicts != nil && step == c.Status.Rollout.Step {
			result, says := gate.Together(verdicts)
			c.Gate = map[gate.Result]strategy.Gate{gate.Pass: strategy.Pass, gate.Fail: strategy.Fail, gate.Inconclusive: strategy.Inconclusive, gate.CannotTell: strategy.CannotTell}[result]
			c.GateSays = says
		}
		plan := c.Step()
		if plan.Status.Stable == "b" || plan.Status.Rollout.Aborted == "b" {
			out.Promoted, out.Gate = plan.Status.Stable == "b", plan.Status.Rollout.AbortReason
			break
		}
		c.Advance(time.Second)
		share := c.Weights["b"]
		out.Weight = max(out.Weight, share)
		n := 0
		for range rate {
			if r.Int32N(100) < share {
				n++
			}
		}
		out.Exposed += n
		kinds["b"].count(sides["b"], n, r)
		kinds["a"].count(sides["a"], rate-n, r)
		if rows := sides["b"].Size(); plan.Gates && (look.Due(rows) || step != plan.Status.Rollout.Step) {
			look, step = look.Next(rows), plan.Status.Rollout.Step
			verdicts = gate.Evaluate(gate.Defaults(), *sides["a"], *sides["b"], look.K)
		}
	}
	out.Seconds = c.Now.Sub(begun).Seconds()
	return out
}
