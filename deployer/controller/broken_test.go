package controller_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// counting has hosts that count: those of version 1.0.0 answer every row with the same
// score.
type counting struct {
	silent
	mu   sync.Mutex
	rows map[string]uint64 // by version
}

func (c *counting) Stats(_ context.Context, _ controller.Host, _, version string) (*api.Stats, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows[version] += 600
	if version != "1.0.0" { // it has one pod, and stable two
		c.rows[version] += 600
	}
	n := c.rows[version]
	low, high := 0.0, 4.0
	s := &api.Stats{
		Requests: n, Rows: n, Scored: n, ProcessStartTime: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Failed: map[string]uint64{}, ScoreMin: &low, ScoreMax: &high,
		Histogram: api.Histogram{Edges: []float64{1, 2, 3}, Counts: []uint64{n / 4, n / 4, n / 4, n - 3*(n/4)}},
		Sketch:    &api.Sketch{Edges: []float64{1, 2, 3, 4}, Counts: []uint64{n / 4, n / 4, n / 4, n - 3*(n/4)}},
		Durations: api.Histogram{Edges: []float64{0.1, 1}, Counts: []uint64{n, 0, 0}},
	}
	if version == "1.0.0" {
		low, high = 3.5, 3.5
		s.Histogram.Counts, s.Sketch = []uint64{0, 0, 0, n}, &api.Sketch{Edges: []float64{4}, Counts: []uint64{n}}
	}
	return s, nil
}

// TestStableAnswersConstants checks that the fix of a version that answers constants is
// not rolled back: it waits and says what to do, and with replaceBroken it is deployed.
func TestStableAnswersConstants(t *testing.T) {
	for _, replace := range []bool{false, true} {
		b := newBench(t, deployment(func(md *v1alpha1.ModelDeployment) {
			md.Spec.Strategy = v1alpha1.Strategy{Type: v1alpha1.Canary, Steps: []v1alpha1.Step{{Weight: 50, Hold: &metav1.Duration{Duration: 10 * time.Second}}}}
		}))
		b.Figures = &counting{rows: map[string]uint64{}}
		md := b.settle()
		md.Spec.Template.Model.Version, md.Generation = "1.1.0", 2
		if replace {
			md.Spec.ReplaceBroken = hashOf(t, md)
		}
		if err := b.Update(t.Context(), md); err != nil {
			t.Fatal(err)
		}
		md = b.rounds(25)
		s := &md.Status
		switch {
		case replace && (s.Phase != v1alpha1.Deployed || s.Stable != s.Update || !strings.Contains(s.Promotion, "score-distribution (Skipped")):
			t.Errorf("%+v", s)
		case !replace && (s.Phase != v1alpha1.Paused || !strings.Contains(s.Message, "the stable version is the odd one") || !strings.Contains(s.Message, "`deploy resume --full`, or deploy it with --replace-broken")):
			t.Errorf("%+v", s)
		}
	}
}

// TestStableDead checks that the fix of a version whose pods are never ready is deployed,
// judged alone.
func TestStableDead(t *testing.T) {
	b := newBench(t, deployment(func(md *v1alpha1.ModelDeployment) {
		md.Spec.Strategy = v1alpha1.Strategy{Type: v1alpha1.Canary, Steps: []v1alpha1.Step{{Weight: 50, Hold: &metav1.Duration{}}}, Deadline: &metav1.Duration{Duration: time.Minute}}
	}))
	b.Figures = &counting{rows: map[string]uint64{}}
	md := b.settle()
	b.unready = "cardio-" + md.Status.Stable
	md.Spec.Template.Model.Version, md.Generation = "1.1.0", 2
	if err := b.Update(t.Context(), md); err != nil {
		t.Fatal(err)
	}
	if md = b.rounds(8); md.Status.Phase != v1alpha1.Deploying || !strings.Contains(md.Status.Message, "`deploy resume --full`") {
		t.Errorf("%+v", md.Status)
	}
	if md = b.rounds(25); md.Status.Phase != v1alpha1.Deployed || md.Status.Stable != md.Status.Update {
		t.Errorf("%+v", md.Status)
	}
}
