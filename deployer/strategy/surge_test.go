package strategy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestSurge checks that bad versions in succession, and then a good one, never have
// more pods than a rolling rollout may.
func TestSurge(t *testing.T) {
	for _, ratio := range []bool{false, true} {
		for _, replicas := range []int32{1, 2, 3, 4, 5, 7, 9} {
			t.Run(fmt.Sprint(replicas, ratio), func(t *testing.T) { surge(t, replicas, ratio) })
		}
	}
}

func surge(t *testing.T, replicas int32, ratio bool) {
	c := cluster(t, v1alpha1.Rolling, replicas)
	c.Ratio = ratio
	c.Start, c.Ack = 5*time.Second, 3*time.Second
	c.Broken["b"], c.Broken["c"], c.Broken["d"] = true, true, true
	most := 0
	count := func() {
		n := 0
		for _, r := range c.World().Revisions {
			n += int(r.Desired)
		}
		most = max(most, n)
	}
	for _, bad := range []string{"b", "c", "d"} {
		c.Update = bad
		until(t, c, bad+" has a pod", func() bool { count(); return c.World().Revisions[bad].Desired > 0 })
	}
	c.Update = "e"
	until(t, c, "the good one is deployed", func() bool { count(); return c.Outcomes["e"] == v1alpha1.Deployed && len(c.World().Revisions) == 1 })
	if want := int(replicas + (replicas+3)/4); most > want {
		t.Errorf("there were %d pods of %d, more than the %d of a surge", most, replicas, want)
	}
}

// TestRollbackGivenUp checks that a rollback whose pods do not get ready is aborted
// by a user or by its deadline, and that the present revision keeps serving.
func TestRollbackGivenUp(t *testing.T) {
	for _, aborted := range []bool{true, false} {
		t.Run(fmt.Sprint(aborted), func(t *testing.T) {
			c := cluster(t, v1alpha1.Rolling, 4)
			c.Update = "b"
			until(t, c, "b is deployed", func() bool { return c.Outcomes["b"] == v1alpha1.Deployed && len(c.World().Revisions) == 1 })
			c.Broken["a"], c.Update, c.Spec.RollbackOf = true, "a", "b"
			until(t, c, "b is being rolled back", func() bool { return c.Status.Phase == v1alpha1.RollingBack })
			if aborted {
				c.Spec.Abort = "a"
			}
			until(t, c, "the rollback is aborted", func() bool { p := c.Outcomes["a"]; return p == v1alpha1.RolledBack || p == v1alpha1.Failed })
			if c.Outcomes["b"] != v1alpha1.Deployed || c.Status.Stable != "b" || !weights(c, map[string]int32{"b": 100}) || len(c.World().Revisions) != 1 {
				t.Errorf("%v, %+v, %v", c.Outcomes, c.Status, c.Weights)
			}
		})
	}
}
