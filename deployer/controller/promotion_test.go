package controller_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// telling has hosts that answer a thousand more rows at each look.
type telling struct {
	silent
	rows   atomic.Uint64
	bins   map[string][]float64 // edges by version
	failed map[string]uint64    // rows of batches that fail at each look, by version
	pinned uint64               // percent of the requests that name the first version
}

func (h *telling) Stats(_ context.Context, _ controller.Host, _, version string) (*api.Stats, error) {
	n := h.rows.Add(1000)
	low, high := 0.5, 1.5
	s := &api.Stats{
		ProcessStartTime: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Requests: n / 10, Rows: n, Scored: n, Failed: map[string]uint64{"RowError": h.failed[version] * n / 1000},
		Anomalies: n / 20, ScoreMin: &low, ScoreMax: &high, Histogram: api.Histogram{Edges: h.bins[version], Counts: []uint64{n / 2, n - n/2}},
		Durations: api.Histogram{Edges: []float64{0.001}, Counts: []uint64{n / 10, 0}},
	}
	if h.pinned > 0 && version == "1.0.0" {
		s.Pinned = n / 10 * h.pinned / 100
	} else if h.pinned > 0 {
		s.UnknownVersions = map[string]uint64{"1.0.0": n / 10 * h.pinned / 100}
	}
	return s, nil
}

// TestPromotionSays checks that the status says which gates decided, on how many
// samples, and that a gate that cannot tell is never passed without a person.
func TestPromotionSays(t *testing.T) {
	same := map[string][]float64{"1.0.0": {1}, "1.1.0": {1}}
	other := map[string][]float64{"1.0.0": {1}, "1.1.0": {2}}
	for name, c := range map[string]struct {
		bins   map[string][]float64
		failed uint64
		change func(*v1alpha1.ModelDeploymentSpec)
		phase  string
		says   []string // expected in the promotion, or in the message if there is no promotion
	}{
		"gates decide":          {bins: same, phase: v1alpha1.Deployed, says: []string{"passed error-rate on ", "score-distribution on "}},
		"bins cannot tell":      {bins: other, phase: v1alpha1.Paused, says: []string{"a gate cannot tell", "constant-scores", "deploy resume"}},
		"not even with proceed": {bins: other, change: func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Gates = &v1alpha1.Gates{Inconclusive: "proceed"} }, phase: v1alpha1.Paused, says: []string{"a gate cannot tell"}},
		"nor after a switch":    {bins: other, change: func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Type, s.Strategy.Steps = v1alpha1.BlueGreen, nil }, phase: v1alpha1.Paused, says: []string{"a gate cannot tell"}},
		"not asked for": {
			bins: other, change: func(s *v1alpha1.ModelDeploymentSpec) {
				s.Strategy.Gates = &v1alpha1.Gates{Skip: []string{"constant-scores", "score-distribution"}}
			},
			phase: v1alpha1.Deployed, says: []string{"passed error-rate on ", "not asked for: constant-scores, score-distribution"},
		},
		"skipped by somebody":   {bins: other, change: func(s *v1alpha1.ModelDeploymentSpec) { s.Promote = "update" }, phase: v1alpha1.Deployed, says: []string{"no gate decided; the other steps were skipped on request"}},
		"no gates":              {bins: other, change: func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Type, s.Strategy.Steps = v1alpha1.Direct, nil }, phase: v1alpha1.Deployed, says: []string{"without gates: the strategy is direct"}},
		"disabled gates":        {bins: other, change: func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Gates = &v1alpha1.Gates{Disabled: true} }, phase: v1alpha1.Deployed, says: []string{"without gates: they are disabled"}},
		"rows of batches fail":  {bins: same, failed: 1000, phase: v1alpha1.Failed, says: []string{"error-rate: rows: 0.5 against 0"}},
		"resumed past the gate": {bins: other, change: func(s *v1alpha1.ModelDeploymentSpec) { s.Resume = &v1alpha1.StepOf{Step: 5} }, phase: v1alpha1.Deployed, says: []string{"not decided: constant-scores (CannotTell, "}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, deployment(func(md *v1alpha1.ModelDeployment) {
				md.Spec.Strategy = v1alpha1.Strategy{Type: v1alpha1.Canary, Steps: []v1alpha1.Step{{Weight: 50, Hold: &metav1.Duration{Duration: time.Second}}}}
			}))
			b.Figures = &telling{bins: c.bins, failed: map[string]uint64{"1.1.0": c.failed}}
			md := b.settle()
			if md.Status.Promotion != "without gates: nothing served before" {
				t.Errorf("first: %q", md.Status.Promotion)
			}
			first := md.Status.Stable
			md.Spec.Template.Model.Version, md.Generation = "1.1.0", 2
			if c.change != nil {
				c.change(&md.Spec)
			}
			if err := b.Update(t.Context(), md); err != nil {
				t.Fatal(err)
			}
			md = b.rounds(2)
			if md.Spec.Promote != "" || md.Spec.Resume != nil {
				if md.Spec.Promote = md.Status.Update; md.Spec.Resume != nil {
					md.Spec.Promote, md.Spec.Resume.Revision = "", md.Status.Update
				}
				if err := b.Update(t.Context(), md); err != nil {
					t.Fatal(err)
				}
			}
			md = b.rounds(25)
			text := md.Status.Message
			if c.phase == v1alpha1.Deployed {
				ready := meta.FindStatusCondition(md.Status.Conditions, v1alpha1.ConditionReady)
				if text = md.Status.Promotion; ready == nil || !strings.Contains(ready.Message, text) {
					t.Errorf("the condition: %+v; want %q in it", ready, text)
				}
			}
			if md.Status.Phase != c.phase || (md.Status.Stable != first) != (c.phase == v1alpha1.Deployed) {
				t.Fatalf("%s: %s; %s", md.Status.Phase, md.Status.Message, md.Status.Promotion)
			}
			for _, part := range c.says {
				if !strings.Contains(text, part) {
					t.Errorf("%q; want %q in it", text, part)
				}
			}
		})
	}
}
