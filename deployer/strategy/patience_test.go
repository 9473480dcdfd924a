package strategy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/simulate"
	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// canaryOf returns a cluster whose canary has one step.
func canaryOf(t *testing.T, weight int32, hold time.Duration) *simulate.Cluster {
	c := cluster(t, v1alpha1.Canary, 5)
	c.Spec.Strategy.Steps = []v1alpha1.Step{{Weight: weight, Hold: span(hold)}}
	c.Update = "b"
	return c
}

// TestLongHold checks that a hold may be longer than the deadline, whatever happens
// to the controller, to the API server and to the clock meanwhile.
func TestLongHold(t *testing.T) {
	c := canaryOf(t, 20, 90*time.Second)
	until(t, c, "it is held", func() bool { return c.Status.Rollout.State == strategy.StateGating })
	begun := c.Now
	c.Gate = strategy.NotRun // a plan without figures
	c.Step()
	c.Gate = strategy.Pass
	for range 3 { // nobody looks for longer than the deadline
		c.Advance(2 * time.Minute)
		c.Step()
	}
	if c.Status.Rollout.Aborted != "" || c.Status.Stable == "b" {
		t.Fatalf("after an outage: %+v", c.Status)
	}
	c.Skew += time.Hour
	c.Step()
	c.Skew -= 2 * time.Hour
	until(t, c, "b is promoted", func() bool { return c.Status.Stable == "b" })
	if took := c.Now.Sub(begun) - 6*time.Minute; took < 15*time.Second {
		t.Errorf("it was held for %s", took)
	}
}

// TestMissingFigures checks that figures which are away for less than the deadline,
// again and again, do not end a rollout, and that they stop its hold.
func TestMissingFigures(t *testing.T) {
	c := canaryOf(t, 20, 5*time.Minute)
	until(t, c, "it is held", func() bool { return c.Status.Rollout.State == strategy.StateGating })
	for range 4 {
		c.Gate = strategy.Broken
		for range 40 {
			c.Step()
			c.Advance(time.Second)
		}
		c.Gate = strategy.Pass
		for range 60 {
			c.Step()
			c.Advance(time.Second)
		}
	}
	if c.Status.Rollout.Aborted != "" || c.Status.Stable == "b" {
		t.Fatalf("%+v", c.Status)
	}
	until(t, c, "b is promoted", func() bool { return c.Status.Stable == "b" })
}

// TestWaitsForTheCause checks that a rollout is given up for what was missing all the
// time, and not for what has begun to be missing in the last moment.
func TestWaitsForTheCause(t *testing.T) {
	c := canaryOf(t, 20, 5*time.Minute)
	until(t, c, "it is held", func() bool { return c.Status.Rollout.State == strategy.StateGating })
	deadline := c.Spec.Strategy.Deadline.Duration
	c.Gate = strategy.Broken
	for c.Status.Rollout.Waited.Duration < deadline-6*time.Second {
		c.Step()
		c.Advance(time.Second)
	}
	c.Advance(9 * time.Second)
	c.Weights = map[string]int32{"a": 50, "b": 50} // by hand
	c.Step()
	if s := &c.Status; s.Rollout.Aborted != "" || s.Rollout.State != strategy.StateShifting {
		t.Fatalf("the weight is to be set: %+v", s)
	}
	until(t, c, "it is given up", func() bool { return c.Status.Rollout.Aborted == "b" })
	if why := c.Status.Rollout.AbortReason; !strings.Contains(why, "no figures") {
		t.Errorf("it was given up because %s", why)
	}
}

// TestWaitsApart checks that a wait which has ended leaves time for another one, even
// if only a pause lies between them.
func TestWaitsApart(t *testing.T) {
	c := canaryOf(t, 20, time.Second)
	c.Gate = strategy.CannotTell
	until(t, c, "it waits for a user", func() bool { return c.Status.Phase == v1alpha1.Paused })
	for _, away := range []time.Duration{55 * time.Second, 20 * time.Second} {
		c.Gate = strategy.Broken
		for range away / time.Second {
			c.Step()
			c.Advance(time.Second)
		}
		c.Gate = strategy.CannotTell
		for range 20 {
			c.Step()
			c.Advance(5 * time.Second)
		}
	}
	if c.Status.Rollout.Aborted != "" || c.Status.Phase != v1alpha1.Paused {
		t.Errorf("%+v", c.Status)
	}
}

// TestCrashLoop checks that hosts which end again and again end the rollout, whether
// they do so within a step or later, and that one crash only begins the hold anew.
func TestCrashLoop(t *testing.T) {
	for _, every := range []time.Duration{0, 25 * time.Second, 90 * time.Second, 150 * time.Second} {
		t.Run(every.String(), func(t *testing.T) {
			c := canaryOf(t, 20, time.Minute)
			c.Spec.Strategy.Steps = append(c.Spec.Strategy.Steps, v1alpha1.Step{Weight: 50, Hold: span(time.Minute)}, v1alpha1.Step{Weight: 75, Hold: span(time.Minute)})
			until(t, c, "it is held", func() bool { return c.Status.Rollout.State == strategy.StateGating })
			next := c.Now.Add(max(every, 20*time.Second))
			for range 2000 {
				if !next.IsZero() && !c.Now.Before(next) {
					c.Crash("b", 0, false)
					if next = next.Add(every); every == 0 {
						next = time.Time{}
					}
				}
				c.Step()
				c.Advance(500 * time.Millisecond)
			}
			if promoted := c.Status.Stable == "b"; promoted != (every == 0) {
				t.Errorf("promoted: %t; %+v", promoted, c.Status)
			}
			if every > 0 && !strings.Contains(c.Status.Message, "hosts ended with an error and were started again, 2 times in all") {
				t.Errorf("%q", c.Status.Message)
			}
		})
	}
}

// TestStagingLater checks that what must happen before a rollout does not stop it
// once it has begun.
func TestStagingLater(t *testing.T) {
	for _, kind := range []string{v1alpha1.Canary, v1alpha1.Rolling} {
		t.Run(kind, func(t *testing.T) {
			c := cluster(t, kind, 4)
			c.Update = "b"
			until(t, c, "b has traffic", func() bool { return c.Weights["b"] > 0 })
			c.Blocked = "it is not healthy in staging"
			until(t, c, "b is promoted", func() bool {
				if c.Status.Phase == v1alpha1.Pending {
					t.Fatalf("%+v", c.Status)
				}
				return c.Status.Stable == "b"
			})
		})
	}
}

// TestSplit checks that requests which do not follow the weight hold a rollout and
// never end it, and that it goes on once they follow, or when it is resumed.
func TestSplit(t *testing.T) {
	c := canaryOf(t, 20, time.Second)
	c.Observed = strategy.Differs
	until(t, c, "it waits", func() bool { return c.Status.Rollout.State == strategy.StateVerifying })
	for range 100 {
		c.Step()
		c.Advance(time.Minute)
	}
	if c.Status.Phase != v1alpha1.Paused || c.Weights["b"] != 20 || !strings.Contains(c.Status.Message, "requests do not follow the weight") {
		t.Fatalf("%+v", c.Status)
	}
	c.Observed = strategy.Matches
	until(t, c, "b is promoted", func() bool { return c.Status.Stable == "b" })
	c.Update, c.Observed = "c", strategy.Differs
	until(t, c, "it waits", func() bool { return c.Status.Rollout.State == strategy.StateVerifying })
	c.Spec.Resume = &v1alpha1.StepOf{Revision: "c", Step: 0}
	until(t, c, "c is promoted", func() bool { return c.Status.Stable == "c" })
}

// TestLostPod checks that stable pods which are lost or not yet there raise no
// canary's share, and that a broken stable revision does not keep a good one from
// serving.
func TestLostPod(t *testing.T) {
	c := canaryOf(t, 10, time.Minute)
	until(t, c, "b is held", func() bool { return c.Status.Rollout.State == strategy.StateGating })
	for _, lose := range []func(){func() { c.Lose("a", 1) }, func() { c.Lose("a", 4) }, func() { c.Spec.Replicas = 20 }} {
		lose()
		for range 30 {
			if c.Step(); c.Weights["b"] > 10 {
				t.Fatalf("the canary has %d %%", c.Weights["b"])
			}
			c.Advance(200 * time.Millisecond)
		}
	}
	c.Broken["a"] = true
	c.Step()
	if c.Weights["b"] != 100 {
		t.Errorf("nobody else serves, and b has %d %%", c.Weights["b"])
	}
}

// TestTryAgain checks that a revision which was given up is rolled out again on
// request, after it has gone.
func TestTryAgain(t *testing.T) {
	c := canaryOf(t, 20, time.Minute)
	until(t, c, "b is held", func() bool { return c.Status.Rollout.State == strategy.StateGating })
	c.Spec.Abort = "b"
	c.Step()
	c.Spec.Abort, c.Spec.Attempt = "", 1
	until(t, c, "b ends", func() bool { return c.Outcomes["b"] == v1alpha1.RolledBack })
	until(t, c, "b is promoted", func() bool { return c.Status.Stable == "b" })
}

// TestEndLasts checks that a rollout which has failed is not called rolled back by a
// late abort.
func TestEndLasts(t *testing.T) {
	c := canaryOf(t, 20, time.Minute)
	c.Gate, c.GateSays = strategy.Fail, "it is worse"
	until(t, c, "b has failed", func() bool { return c.Outcomes["b"] == v1alpha1.Failed })
	c.Spec.Abort = "b"
	for range 5 {
		c.Step()
		c.Advance(time.Second)
	}
	if c.Status.Phase != v1alpha1.Failed {
		t.Errorf("%+v", c.Status)
	}
}

// TestFirst checks that a first revision without any pod fails for good, and that one
// with some pods goes on.
func TestFirst(t *testing.T) {
	for _, broken := range []bool{true, false} {
		c := simulate.NewCluster(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		c.Spec = v1alpha1.ModelDeploymentSpec{Replicas: 2, Strategy: v1alpha1.Strategy{Type: v1alpha1.Rolling, Deadline: span(time.Minute)}}
		c.Update, c.Broken["a"] = "a", true
		if !broken {
			c.Step()
			c.Broken["a"] = false
			c.Advance(5 * time.Second)
			c.Step()
			c.Ack = time.Hour // the gateway does not answer
		}
		for range 200 {
			c.Step()
			c.Advance(time.Second)
		}
		switch {
		case broken && (c.Status.Phase != v1alpha1.Failed || len(c.World().Revisions) > 0):
			t.Errorf("%+v", c.Status)
		case !broken && c.Weights["a"] != 100:
			t.Errorf("%+v", c.Status)
		}
		c.Broken["a"] = false
		for range 20 {
			c.Step()
			c.Advance(time.Second)
		}
		if broken && c.Status.Phase != v1alpha1.Failed {
			t.Errorf("an end did not last: %+v", c.Status)
		}
	}
}
