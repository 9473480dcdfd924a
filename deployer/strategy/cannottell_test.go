package strategy_test

import (
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestCannotTell checks that only a user can pass a gate that cannot tell: time does
// not, even if too few samples would not stop the rollout.
func TestCannotTell(t *testing.T) {
	for _, kind := range []string{v1alpha1.BlueGreen, v1alpha1.Canary} {
		t.Run(kind, func(t *testing.T) {
			c := cluster(t, kind, 4)
			c.Spec.Strategy.Gates = &v1alpha1.Gates{Inconclusive: "proceed"}
			c.Update, c.Gate, c.GateSays = "b", strategy.CannotTell, "the bins do not tell"
			until(t, c, "the rollout waits", func() bool { return c.Status.Phase == v1alpha1.Paused })
			if !strings.Contains(c.Status.Message, "the bins do not tell") || !strings.Contains(c.Status.Message, "deploy resume") {
				t.Errorf("%q", c.Status.Message)
			}
			if c.Run(500) || c.Status.Stable == "b" {
				t.Fatalf("b was promoted: %+v", c.Status)
			}
			c.Spec.Resume = &v1alpha1.StepOf{Revision: "b", Step: 10}
			until(t, c, "a user has resumed the rollout", func() bool { return c.Status.Stable == "b" })
		})
	}
}
