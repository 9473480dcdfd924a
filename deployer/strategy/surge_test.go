package strategy_test

import (
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestSurge: bad versions one after another, and then a good one, never have more pods
// than a rolling rollout may.
func TestSurge(t *testing.T) {
	c := cluster(t, v1alpha1.Rolling, 4)
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
	if most > 5 {
		t.Errorf("there were %d pods", most)
	}
}
