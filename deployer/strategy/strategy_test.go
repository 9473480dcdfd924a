package strategy_test

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/pynomaly/pynomaly-runtime/deployer/simulate"
	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

func span(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

// cluster returns a cluster that serves revision a.
func cluster(t testing.TB, kind string, replicas int32) *simulate.Cluster {
	t.Helper()
	c := simulate.NewCluster(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	c.Spec = v1alpha1.ModelDeploymentSpec{Replicas: replicas, Strategy: v1alpha1.Strategy{
		Type: kind, Deadline: span(time.Minute), Drain: span(2 * time.Second), Window: span(time.Minute),
	}}
	if kind == v1alpha1.Canary {
		c.Spec.Strategy.Steps = []v1alpha1.Step{{Weight: 10, Hold: span(5 * time.Second)}, {Weight: 50, Hold: span(5 * time.Second)}}
	}
	c.Gate, c.Update = strategy.Pass, "a"
	if !c.Run(100) || c.Status.Stable != "a" || c.Status.Phase != v1alpha1.Deployed || c.Outcomes["a"] != v1alpha1.Deployed {
		t.Fatalf("the first deployment did not end: %+v", c.Status)
	}
	return c
}

// until steps until done returns true.
func until(t testing.TB, c *simulate.Cluster, what string, done func() bool) {
	t.Helper()
	for range 2000 {
		if done() {
			return
		}
		plan := c.Step()
		c.Advance(min(max(plan.After, 100*time.Millisecond), time.Second))
	}
	t.Fatalf("timed out: %s; %+v, weights %v", what, c.Status, c.Weights)
}

func weights(c *simulate.Cluster, want map[string]int32) bool { return maps.Equal(c.Weights, want) }

// TestPromotion checks that each strategy moves from one revision to the next
// through its shares, and that nothing of the old one is left.
func TestPromotion(t *testing.T) {
	for kind, want := range map[string]string{
		v1alpha1.Rolling: "0 25 50 75 100", v1alpha1.BlueGreen: "0 100", v1alpha1.Canary: "0 10 50 100", v1alpha1.Direct: "0 100",
	} {
		t.Run(kind, func(t *testing.T) {
			c := cluster(t, kind, 4)
			c.Update = "b"
			var seen []string
			most := 0
			until(t, c, "it is deployed", func() bool {
				if w := fmt.Sprint(c.Weights["b"]); len(seen) == 0 || seen[len(seen)-1] != w {
					seen = append(seen, w)
				}
				n := 0
				for _, r := range c.World().Revisions {
					n += int(r.Desired)
				}
				most = max(most, n)
				return c.Status.Stable == "b" && len(c.World().Revisions) == 1
			})
			if got := strings.Join(seen, " "); got != want {
				t.Errorf("the weights were %s, want %s", got, want)
			}
			if c.Outcomes["a"] != v1alpha1.Superseded || c.Outcomes["b"] != v1alpha1.Deployed {
				t.Errorf("%v", c.Outcomes)
			}
			if kind == v1alpha1.Rolling && most > 5 {
				t.Errorf("there were %d pods of four with a surge of one", most)
			}
		})
	}
}

// TestReplay checks that if hosts keep samples, a version that fails the replay
// never has traffic, and one that cannot be compared waits.
func TestReplay(t *testing.T) {
	for _, kind := range []string{v1alpha1.BlueGreen, v1alpha1.Canary} {
		t.Run(kind, func(t *testing.T) {
			c := cluster(t, kind, 4)
			c.Spec.Template.Samples, c.Update, c.Gate, c.GateSays = 100, "b", strategy.Inconclusive, "3 of 50 rows to replay"
			had := int32(0)
			until(t, c, "the rollout waits", func() bool { had = max(had, c.Weights["b"]); return c.Status.Phase == v1alpha1.Paused })
			if !strings.Contains(c.Status.Message, "too few samples") {
				t.Errorf("%q", c.Status.Message)
			}
			c.Gate, c.GateSays = strategy.Fail, "they disagree"
			until(t, c, "b is aborted", func() bool { had = max(had, c.Weights["b"]); return c.Outcomes["b"] == v1alpha1.Failed })
			if had != 0 {
				t.Errorf("it had %d %% of the traffic", had)
			}
			c.Update, c.Gate = "c", strategy.Pass
			until(t, c, "another one is deployed", func() bool { return c.Outcomes["c"] == v1alpha1.Deployed })
		})
	}
}

// TestAbort checks that an abort moves the traffic back at once, then removes the
// pods, and lasts. Another version can be rolled out afterwards.
func TestAbort(t *testing.T) {
	for _, kind := range []string{v1alpha1.Rolling, v1alpha1.BlueGreen, v1alpha1.Canary} {
		t.Run(kind, func(t *testing.T) {
			c := cluster(t, kind, 4)
			c.Update = "b"
			until(t, c, "b has pods", func() bool { return c.World().Revisions["b"].Endpoints > 0 })
			if kind != v1alpha1.BlueGreen {
				until(t, c, "b has traffic", func() bool { return c.Weights["b"] > 0 })
			}
			c.Spec.Abort, c.Spec.Promote, c.Spec.Reason = "b", "b", "too slow"
			if c.Step(); kind == v1alpha1.Canary && c.Weights["b"] != 0 {
				t.Errorf("the canary has %d %% after an abort", c.Weights["b"])
			}
			until(t, c, "b is gone", func() bool { return c.Outcomes["b"] == v1alpha1.RolledBack })
			if !weights(c, map[string]int32{"a": 100}) || len(c.World().Revisions) != 1 || !strings.Contains(c.Status.Message, "too slow") {
				t.Errorf("%v, %v, %q", c.Weights, c.World().Revisions, c.Status.Message)
			}
			for range 100 {
				c.Step()
				c.Advance(time.Minute)
			}
			if c.Status.Phase != v1alpha1.RolledBack || c.Weights["b"] != 0 {
				t.Errorf("an abort did not last: %+v", c.Status)
			}
			c.Update = "c"
			until(t, c, "c is deployed", func() bool { return c.Status.Stable == "c" })
		})
	}
}

// TestFailures checks that a failing rollout ends with its reason.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*simulate.Cluster)
		want   string
	}{
		"pods never get ready":  {func(c *simulate.Cluster) { c.Broken["b"] = true }, "deadline of 1m0s exceeded in state Scaling"},
		"the gateway is silent": {func(c *simulate.Cluster) { c.Ack = 70 * time.Second }, "deadline of 1m0s exceeded in state Shifting"},
		"a gate fails":          {func(c *simulate.Cluster) { c.Gate, c.GateSays = strategy.Fail, "nonfinite scores" }, "a gate failed at step 1 of 3, 10 %: nonfinite scores"},
		"there are no figures":  {func(c *simulate.Cluster) { c.Gate = strategy.Broken }, "deadline of 1m0s exceeded in state Measuring"},
	} {
		t.Run(name, func(t *testing.T) {
			s := cluster(t, v1alpha1.Canary, 4)
			s.Update = "b"
			c.change(s)
			until(t, s, "b is aborted", func() bool { return s.Status.Rollout.Aborted == "b" })
			s.Ack = 0
			until(t, s, "b has failed", func() bool { return s.Outcomes["b"] == v1alpha1.Failed })
			if !strings.Contains(s.Status.Message, c.want) {
				t.Errorf("%q, want %q", s.Status.Message, c.want)
			}
			if s.World().Revisions["a"].Endpoints != 4 {
				t.Error("the stable revision was touched")
			}
		})
	}
}

// TestPauses checks that a pause holds the weight and stops deadlines, and that a
// resume or a promotion continues the rollout.
func TestPauses(t *testing.T) {
	c := cluster(t, v1alpha1.Canary, 4)
	c.Spec.Strategy.Steps[0].Pause = true
	c.Update = "b"
	until(t, c, "it waits at its step", func() bool { return c.Status.Phase == v1alpha1.Paused })
	for range 100 {
		c.Step()
		c.Advance(time.Hour)
	}
	if c.Weights["b"] != 10 || c.Status.Phase != v1alpha1.Paused {
		t.Errorf("the weight did not hold: %+v", c.Status)
	}
	c.Spec.Resume = &v1alpha1.StepOf{Revision: "b", Step: 0}
	until(t, c, "the rollout continues", func() bool { return c.Weights["b"] == 50 })
	c.Spec.Paused = true
	c.Broken["b"] = true
	for range 100 {
		c.Step()
		c.Advance(time.Hour)
	}
	if c.Status.Rollout.Aborted != "" || c.Weights["b"] != 0 {
		t.Errorf("paused with pods that are not ready: %+v, %v", c.Status, c.Weights)
	}
	c.Spec.Replicas = 8
	c.Step()
	if c.World().Revisions["a"].Desired != 8 {
		t.Error("a paused rollout does not scale")
	}
	c.Broken["b"], c.Spec.Paused, c.Spec.Promote = false, false, "b"
	until(t, c, "b is promoted", func() bool { return c.Status.Stable == "b" })

	c = cluster(t, v1alpha1.Canary, 4)
	c.Update, c.Gate, c.GateSays = "b", strategy.Inconclusive, "12 of 200 rows"
	until(t, c, "the rollout waits for samples", func() bool { return c.Status.Phase == v1alpha1.Paused })
	if c.Weights["b"] != 10 || !strings.Contains(c.Status.Message, "12 of 200 rows") {
		t.Errorf("%+v", c.Status)
	}
	c.Gate = strategy.Pass
	until(t, c, "the rollout continues by itself", func() bool { return c.Status.Stable == "b" })
}

// TestSupersede checks that a third revision during a rollout leaves nothing of the
// second, and that going back to the stable one overloads no pod.
func TestSupersede(t *testing.T) {
	for _, kind := range []string{v1alpha1.Rolling, v1alpha1.Canary, v1alpha1.BlueGreen} {
		for _, next := range []string{"c", "a"} {
			t.Run(kind+"/"+next, func(t *testing.T) {
				c := cluster(t, kind, 4)
				c.Update = "b"
				if kind == v1alpha1.BlueGreen {
					until(t, c, "b is up", func() bool { return c.World().Revisions["b"].Endpoints == 4 })
				} else {
					until(t, c, "b has half", func() bool { return c.Weights["b"] >= 50 && c.World().Acked })
				}
				c.Update = next
				until(t, c, "only the next is left", func() bool {
					w := c.World()
					for name, share := range c.Weights {
						if share*4/100 > 2*w.Revisions[name].Endpoints {
							t.Fatalf("%s has %d %% with %d pods", name, share, w.Revisions[name].Endpoints)
						}
					}
					return c.Status.Stable == next && len(w.Revisions) == 1
				})
				if c.Outcomes["b"] != v1alpha1.Superseded || !weights(c, map[string]int32{next: 100}) {
					t.Errorf("%v, %v", c.Outcomes, c.Weights)
				}
			})
		}
	}
}

// TestSwitchBack checks that a blue_green rollout goes back at once within the
// window.
func TestSwitchBack(t *testing.T) {
	c := cluster(t, v1alpha1.BlueGreen, 4)
	c.Update = "b"
	until(t, c, "b serves", func() bool { return c.Status.Stable == "b" })
	c.Advance(30 * time.Second)
	c.Step()
	c.Update, c.Spec.RollbackOf = "a", "b"
	if c.Step(); !weights(c, map[string]int32{"a": 100}) {
		t.Errorf("%v after one step: %+v", c.Weights, c.Status)
	}
	if c.Outcomes["b"] != v1alpha1.RollingBack || c.Outcomes["a"] != v1alpha1.Deploying {
		t.Errorf("%v", c.Outcomes)
	}
	until(t, c, "a is stable", func() bool { return c.Status.Stable == "a" })
	if c.Outcomes["b"] != v1alpha1.RolledBack || c.Outcomes["a"] != v1alpha1.Deployed {
		t.Errorf("%v", c.Outcomes)
	}
}

// TestBlocked checks that a revision that waits for an approval has no pods.
func TestBlocked(t *testing.T) {
	c := cluster(t, v1alpha1.Canary, 2)
	c.Update, c.Blocked = "b", "waits for an approval"
	for range 10 {
		c.Step()
		c.Advance(time.Hour)
	}
	if c.Status.Phase != v1alpha1.Pending || len(c.World().Revisions) != 1 || c.Status.Message != "waits for an approval" {
		t.Errorf("%+v", c.Status)
	}
	c.Blocked = ""
	until(t, c, "it is deployed", func() bool { return c.Status.Stable == "b" })
}

// TestWalks takes random steps and checks every plan: no traffic goes to a revision
// without pods, stable pods are not removed while they have traffic, an abort lasts,
// and planning twice changes nothing. Left alone, every rollout ends.
func TestWalks(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		kind := rapid.SampledFrom([]string{v1alpha1.Rolling, v1alpha1.BlueGreen, v1alpha1.Canary, v1alpha1.Direct}).Draw(rt, "kind")
		c := cluster(t, kind, int32(rapid.IntRange(1, 9).Draw(rt, "replicas")))
		c.Ratio = rapid.Bool().Draw(rt, "ratio")
		c.Spec.Template.Samples = int32(rapid.IntRange(0, 1).Draw(rt, "samples"))
		c.Start = time.Duration(rapid.IntRange(1, 20).Draw(rt, "start")) * time.Second
		c.Ack = time.Duration(rapid.IntRange(0, 5).Draw(rt, "ack")) * time.Second
		names := []string{"a", "b", "c", "d"}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 12).Draw(rt, "event") {
			case 0:
				c.Update = rapid.SampledFrom(names).Draw(rt, "update")
			case 1:
				c.Spec.Abort = rapid.SampledFrom(names).Draw(rt, "abort")
			case 2:
				c.Spec.Paused = !c.Spec.Paused
			case 3:
				c.Spec.Promote = rapid.SampledFrom(names).Draw(rt, "promote")
			case 4:
				c.Gate = strategy.Gate(rapid.IntRange(0, 5).Draw(rt, "gate"))
			case 5:
				c.Kill(rapid.SampledFrom(names).Draw(rt, "kill"))
			case 6:
				c.Broken[rapid.SampledFrom(names[1:]).Draw(rt, "broken")] = rapid.Bool().Draw(rt, "is")
			case 7:
				c.Spec.Replicas = int32(rapid.IntRange(0, 9).Draw(rt, "scale"))
			case 8:
				c.Spec.RollbackOf = rapid.SampledFrom(names).Draw(rt, "rollback")
			case 9:
				c.Spec.Strategy.Type = rapid.SampledFrom([]string{v1alpha1.Rolling, v1alpha1.BlueGreen, v1alpha1.Canary, v1alpha1.Direct}).Draw(rt, "other")
				if c.Spec.Strategy.Type != v1alpha1.Canary {
					c.Spec.Strategy.Steps = nil
				}
			}
			before := c.World()
			plan := c.Step()
			check(rt, before, plan)
			again := before
			again.Status, again.Weights = plan.Status, plan.Weights
			if before.Status.Update != plan.Status.Update {
				again.GateStep = -1
			}
			again.Acked = again.Acked && maps.Equal(before.Weights, plan.Weights)
			if maps.Equal(before.Weights, plan.Weights) {
				if second := strategy.Next(again); !reflect.DeepEqual(second.Weights, plan.Weights) || !reflect.DeepEqual(second.Status, plan.Status) {
					rt.Fatalf("planning twice: %+v, then %+v", plan, second)
				}
			}
			c.Advance(time.Duration(rapid.IntRange(0, 30).Draw(rt, "seconds")) * time.Second)
		}
		clear(c.Broken)
		c.Gate, c.Spec.Paused, c.Spec.Replicas, c.Blocked = strategy.Pass, false, max(1, c.Spec.Replicas), ""
		if !c.Run(3000) {
			rt.Fatalf("the rollout never ends: %+v, weights %v", c.Status, c.Weights)
		}
		c.Advance(time.Minute) // the last pods end
		stable := c.Status.Stable
		if !weights(c, map[string]int32{stable: 100}) || c.World().Revisions[stable].Endpoints != c.Spec.Replicas || len(c.World().Revisions) != 1 {
			rt.Fatalf("it ended with %v, %v, %+v", c.Weights, c.World().Revisions, c.Status)
		}
	})
}

// check checks what must hold for every plan.
func check(t *rapid.T, w strategy.World, p strategy.Plan) {
	sum := int32(0)
	served := false
	for name := range p.Replicas {
		served = served || w.Revisions[name].Endpoints > 0
	}
	for name, share := range p.Weights {
		sum += share
		if share < 0 || share > 100 {
			t.Fatalf("%s has %d %%", name, share)
		}
		if _, ok := p.Replicas[name]; !ok {
			t.Fatalf("%s has %d %% and no pods planned: %+v", name, share, p)
		}
		if name != p.Status.Stable && w.Revisions[name].Endpoints == 0 {
			t.Fatalf("%s has %d %% and nobody to answer: %+v of %+v", name, share, p, w)
		}
		if name == p.Status.Stable && w.Revisions[name].Endpoints == 0 && share > 0 && served && w.Stable > 0 {
			for other := range p.Replicas {
				if other != name && w.Revisions[other].Endpoints > 0 {
					t.Fatalf("%s has %d %% and nobody to answer, while %s could: %+v of %+v", name, share, other, p, w)
				}
			}
		}
	}
	if len(p.Weights) > 0 && sum != 100 {
		t.Fatalf("the shares are %v", p.Weights)
	}
	if s := p.Status.Stable; s != "" && p.Status.Rollout.Aborted == "" {
		need := w.Stable * p.Weights[s] / 100
		if p.Replicas[s] < need {
			t.Fatalf("stable has %d %% and is given %d of %d pods: %+v", p.Weights[s], p.Replicas[s], w.Stable, p)
		}
	}
	if a := p.Status.Rollout.Aborted; a != "" && a != p.Status.Stable && w.Revisions[p.Status.Stable].Endpoints >= w.Stable && p.Weights[a] > 0 {
		t.Fatalf("%s was given up and has %d %%: %+v", a, p.Weights[a], p)
	}
}
