package strategy_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/pynomaly/pynomaly-runtime/deployer/simulate"
	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestOOMKills checks that hosts which use up their memory again and again end the
// rollout, with a gate of its own and a reason that names the limit.
func TestOOMKills(t *testing.T) {
	five := int32(5)
	for name, c := range map[string]struct {
		gates    *v1alpha1.Gates
		kills    int
		oom      bool
		promoted bool
		says     string
	}{
		"once":                 {kills: 1, oom: true, promoted: true},
		"twice":                {kills: 2, oom: true, says: "hosts were OOMKilled 2 times; memory limit 512Mi"},
		"restarts are allowed": {gates: &v1alpha1.Gates{Restarts: &five}, kills: 2, oom: true, says: "hosts were OOMKilled 2 times; memory limit 512Mi"},
		"restarts are skipped": {gates: &v1alpha1.Gates{Skip: []string{"restarts"}}, kills: 2, oom: true, says: "hosts were OOMKilled 2 times; memory limit 512Mi"},
		"kills are skipped":    {gates: &v1alpha1.Gates{Skip: []string{"oom-kills"}}, kills: 2, oom: true, says: "hosts ended with an error and were started again, 2 times in all"},
		"kills are allowed":    {gates: &v1alpha1.Gates{OOMKills: &five, Restarts: &five}, kills: 2, oom: true, promoted: true},
		"another error":        {gates: &v1alpha1.Gates{Restarts: &five}, kills: 2, promoted: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := canaryOf(t, 20, 30*time.Second)
			w.Spec.Strategy.Gates = c.gates
			w.Spec.Template.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")}
			until(t, w, "it is held", held(w))
			for range c.kills {
				w.Crash("b", 0, c.oom)
				w.Step() // it is seen
				w.Advance(5 * time.Second)
			}
			until(t, w, "it ends", func() bool { return w.Status.Stable == "b" || w.Status.Rollout.Aborted == "b" })
			if got := w.Status.Stable == "b"; got != c.promoted || !strings.Contains(w.Status.Message, c.says) {
				t.Errorf("promoted: %t; %s", got, w.Status.Message)
			}
		})
	}
}

func held(c *simulate.Cluster) func() bool {
	return func() bool { return c.Status.Rollout.State == strategy.StateGating }
}

// TestStepRows checks that a step waits for its time and for its rows, whichever is
// there last, and that only a user goes past it.
func TestStepRows(t *testing.T) {
	for _, inconclusive := range []string{"", "proceed"} {
		c := canaryOf(t, 20, 30*time.Second)
		c.Spec.Strategy.Steps[0].MinSamples = 500
		c.Spec.Strategy.Gates = &v1alpha1.Gates{Inconclusive: inconclusive}
		c.RowsFrom = c.Now
		c.Rows = 500
		until(t, c, "it is held", held(c))
		begun := c.Now
		c.Rows = 499
		c.Status.Rollout.Rows = nil // as if there had never been more
		until(t, c, "it waits for rows", func() bool { return c.Status.Phase == v1alpha1.Paused })
		if took := c.Now.Sub(begun); took < 30*time.Second || !strings.Contains(c.Status.Message, "too few samples: 495 of 500 rows at this weight") {
			t.Errorf("after %s: %s", took, c.Status.Message)
		}
		c.Advance(10 * time.Minute)
		if c.Step(); c.Status.Stable == "b" {
			t.Fatal("it went on without its rows")
		}
		c.Rows = 500
		until(t, c, "it is promoted", func() bool { return c.Status.Stable == "b" })
	}
	c := canaryOf(t, 20, time.Second)
	c.Spec.Strategy.Steps[0].MinSamples = 500
	c.RowsFrom = c.Now
	until(t, c, "it waits for rows", func() bool { return c.Status.Phase == v1alpha1.Paused })
	c.Spec.Resume = &v1alpha1.StepOf{Revision: "b", Step: c.Status.Rollout.Step}
	until(t, c, "it is promoted", func() bool { return c.Status.Stable == "b" })
}

// TestRowsOutliveTheController checks that a controller which was restarted in the middle
// of a step goes on with the rows that were counted before, once, and that the next step
// begins with none.
func TestRowsOutliveTheController(t *testing.T) {
	c := canaryOf(t, 20, time.Second)
	c.Spec.Strategy.Steps = []v1alpha1.Step{{Weight: 20, Hold: span(time.Second), MinSamples: 500}, {Weight: 50, Hold: span(time.Second), MinSamples: 500}}
	c.RowsFrom, c.Rows = c.Now, 300
	waits := func() bool { return c.Status.Phase == v1alpha1.Paused }
	until(t, c, "it waits for rows", waits)
	for _, rows := range []int64{0, 100, 199, 199} { // of controllers that end before they count, and of one that goes on
		if rows == 0 || rows == 100 {
			c.RowsFrom = c.Now
		}
		c.Rows = rows
		c.Step()
		c.Advance(time.Second)
		if s := c.Status; s.Rollout.Step != 0 {
			t.Fatalf("after %d further rows: %+v", rows, s)
		}
	}
	if want := "too few samples: 495 of 500 rows at this weight"; !strings.Contains(c.Status.Message, want) {
		t.Errorf("%q, not %q", c.Status.Message, want)
	}
	c.Rows = 200
	until(t, c, "it goes on", func() bool { return c.Status.Rollout.Step == 1 })
	c.Rows, c.RowsFrom = 0, c.Now
	until(t, c, "the next step waits for rows", func() bool { return waits() && c.Weights["b"] == 50 })
	if want := "too few samples: 0 of 500 rows at this weight"; !strings.Contains(c.Status.Message, want) {
		t.Errorf("%q, not %q", c.Status.Message, want)
	}
}
