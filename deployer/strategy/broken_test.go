package strategy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestDeadStable checks that the fix of a version that has no ready pod any more is neither
// paused for ever nor promoted by a moment without pods: it is promoted once that has
// lasted for the deadline (a minute here).
func TestDeadStable(t *testing.T) {
	c := canaryOf(t, 20, 10*time.Second)
	until(t, c, "it is held", func() bool { return c.Status.Rollout.State == strategy.StateGating })
	c.Broken["a"] = true // for a moment, at the end of the hold
	for range 20 {
		c.Step()
		c.Advance(time.Second)
	}
	if c.Status.Stable == "b" {
		t.Fatal("it was promoted although stable was away for a moment only")
	}
	c.Gate, c.Broken["a"] = strategy.Inconclusive, false
	until(t, c, "it waits for samples", func() bool { return c.Status.Rollout.State == strategy.StatePaused })
	c.Broken["a"] = true
	until(t, c, "it has all requests", func() bool { return weights(c, map[string]int32{"b": 100}) })
	until(t, c, "the message says what helps", func() bool { return strings.Contains(c.Status.Message, "`deploy resume --full`") })
	c.Gate = strategy.Pass
	begun := c.Now
	until(t, c, "b is promoted", func() bool { return c.Status.Stable == "b" })
	if took := c.Now.Sub(begun); took < 40*time.Second || took > 2*time.Minute {
		t.Errorf("after %s", took)
	}
	if !c.Run(200) || c.Status.Phase != v1alpha1.Deployed {
		t.Errorf("%+v", c.Status)
	}
}

// TestReplaceBroken checks that a version that replaces a broken one does not wait for it,
// and that its own failures still end the rollout.
func TestReplaceBroken(t *testing.T) {
	for _, gate := range []strategy.Gate{strategy.Pass, strategy.Fail} {
		c := canaryOf(t, 20, 5*time.Second)
		c.Broken["a"], c.Gate, c.Spec.ReplaceBroken = true, gate, "b"
		begun := c.Now
		until(t, c, "it ends", func() bool {
			return c.Status.Stable == "b" || c.Status.Rollout.Aborted == "b"
		})
		if promoted := c.Status.Stable == "b"; promoted != (gate == strategy.Pass) || c.Now.Sub(begun) > 50*time.Second {
			t.Errorf("gate %v, after %s: %+v", gate, c.Now.Sub(begun), c.Status)
		}
	}
}

// TestDeadStableAnywhere checks that the fix of a version without pods ends up deployed by
// every strategy, without anybody's help.
func TestDeadStableAnywhere(t *testing.T) {
	for _, kind := range []string{v1alpha1.Rolling, v1alpha1.BlueGreen, v1alpha1.Canary, v1alpha1.Direct} {
		for _, samples := range []int32{0, 10} {
			c := cluster(t, kind, 4)
			c.Spec.Template.Samples = samples
			c.Broken["a"], c.Update = true, "b"
			until(t, c, kind, func() bool { return c.Status.Stable == "b" })
		}
	}
}

// TestDeadAgain checks that a wait for a dead stable version counts from its last death: a
// moment in which it is back begins it anew, and one beside a long hold is no longer.
func TestDeadAgain(t *testing.T) {
	c := canaryOf(t, 20, time.Second) // the deadline is a minute
	c.Gate = strategy.Inconclusive
	until(t, c, "it waits for samples", func() bool { return c.Status.Rollout.State == strategy.StatePaused })
	for _, dead := range []bool{true, false, true, false, true, false, true, false, true} {
		c.Broken["a"], c.Gate = dead, strategy.Inconclusive
		if dead {
			c.Gate = strategy.Pass
		}
		for range 45 {
			c.Step()
			c.Advance(time.Second)
		}
		if alone := c.Status.Rollout.Alone; dead != (alone != nil) || dead && alone.Duration > 45*time.Second {
			t.Errorf("dead: %t, and alone for %v", dead, alone)
		}
	}
	if c.Status.Stable == "b" {
		t.Fatal("it was promoted although stable was never away for a minute")
	}
	begun := c.Now
	until(t, c, "b is promoted", func() bool { return c.Status.Stable == "b" })
	if took := c.Now.Sub(begun); took < 10*time.Second || took > 25*time.Second {
		t.Errorf("it was promoted %s after stable had been away for 45 s", took)
	}
	if c.Status.Rollout.Alone != nil {
		t.Errorf("%+v", c.Status.Rollout)
	}
}
