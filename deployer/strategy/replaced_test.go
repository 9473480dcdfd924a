package strategy_test

import (
	"testing"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestReplaced checks how a rollout that goes back ends if another one takes its place
// before its pods are gone, and that what was to be rolled back is recorded as serving.
func TestReplaced(t *testing.T) {
	t.Run("aborted", func(t *testing.T) {
		c := cluster(t, v1alpha1.Canary, 4)
		c.Update = "b"
		until(t, c, "b has traffic", func() bool { return c.Weights["b"] > 0 })
		c.Spec.Abort = "b"
		until(t, c, "b goes", func() bool { return c.Outcomes["b"] == v1alpha1.RollingBack })
		c.Update, c.Spec.Abort = "c", ""
		until(t, c, "c is deployed", func() bool { return c.Outcomes["c"] == v1alpha1.Deployed })
		if c.Outcomes["b"] != v1alpha1.RolledBack {
			t.Errorf("b is %s", c.Outcomes["b"])
		}
	})
	t.Run("rolled back", func(t *testing.T) {
		c := cluster(t, v1alpha1.Canary, 4)
		c.Update, c.Spec.RollbackOf = "b", "a"
		until(t, c, "a is being rolled back", func() bool { return c.Outcomes["a"] == v1alpha1.RollingBack && c.Weights["b"] > 0 })
		c.Update, c.Spec.RollbackOf = "c", ""
		until(t, c, "c has traffic", func() bool { return c.Weights["c"] > 0 })
		c.Spec.Abort = "c"
		until(t, c, "c is gone", func() bool { return c.Outcomes["c"] == v1alpha1.RolledBack })
		if c.Outcomes["a"] != v1alpha1.Deployed || c.Outcomes["b"] != v1alpha1.Superseded {
			t.Errorf("a is %s, b is %s", c.Outcomes["a"], c.Outcomes["b"])
		}
	})
}
