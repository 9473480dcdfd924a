//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// later are flags for hosts that misbehave when they have had requests: a pod gets some
// once it has been ready for 2 to 3 s.
var later = []string{"--set", "MISBEHAVE_AFTER=8s"}

// TestCrashes rolls out versions whose hosts are good at first, and misbehave then. None
// may be promoted.
func TestCrashes(t *testing.T) {
	w := open(t, busy)
	defer w.table(t)
	w.situation(t, "hosts that crash every 8 s", setup{pods: 2, mayLose: 10}, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", steps("20:60s,50:60s", misbehaving("crash=8s")...)...)
		w.gaveUp(t, l, id, "1.1.0", "hosts ended with an error", 20)
	})
	// Replayed rows come before traffic.
	w.situation(t, "replayed rows answered 409 are errors", setup{pods: 2, flags: []string{"--samples", "100"}}, func(t *testing.T, l *load) {
		w.eventually(t, long, "stable has rows to replay", func() bool { _, _, v := l.mark(); return v["1.0.0"] > 200 })
		id := w.deploy(t, "1.1.0", steps("20:5s", append(misbehaving("refuse-replay"), "--set", "MISBEHAVE_AFTER=0s", "--samples", "100")...)...)
		w.deadline(t, 30*time.Second)
		w.gaveUp(t, l, id, "1.1.0", "shadow-disagreement", 0)
		if !l.last("1.1.0").IsZero() {
			t.Error("a version had traffic whose replays were refused")
		}
	})
}

// TestMisbehaving rolls out hosts and models that begin to misbehave in other ways.
func TestMisbehaving(t *testing.T) {
	w := open(t, busy)
	defer w.table(t)
	for name, c := range map[string]struct {
		version, why string
		mayLose      float64
	}{
		"constant scores":                {"3.0.0", "a gate failed", 0},
		"inverted scores":                {"3.1.0", "a gate failed", 0},
		"rows scored 2000 times":         {"3.2.0", busy, 0},
		"3 percent of scores not finite": {"3.3.0", "nonfinite-scores", 2},
		"5 percent of calls fail":        {"3.4.0", "error-rate", 3},
	} {
		w.situation(t, name, setup{pods: 2, mayLose: c.mayLose}, func(t *testing.T, l *load) {
			w.edit(t, func(s *v1alpha1.ModelDeploymentSpec) {
				if s.Strategy.Gates.Skip = nil; c.why != busy {
					s.Strategy.Gates.Skip = []string{busy}
				}
			})
			w.gaveUp(t, l, w.deploy(t, c.version, steps("20:60s,50:60s")...), c.version, c.why, 20)
		})
	}
	w.situation(t, "hosts that crash at 2 percent of the calls", setup{pods: 2, mayLose: 15}, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", steps("20:60s,50:60s", misbehaving("crash=2%")...)...)
		w.gaveUp(t, l, id, "1.1.0", "hosts ended with an error", 20)
	})
	w.situation(t, "hosts without memory", setup{pods: 2, mayLose: 10}, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", steps("20:60s,50:60s", append(append(misbehaving("oom"), later...), "--memory-limit", "256Mi")...)...)
		w.gaveUp(t, l, id, "1.1.0", "OOMKilled", 20)
	})
	w.situation(t, "hosts that hang", setup{pods: 2, mayLose: 20}, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", steps("20:60s,50:60s", append(misbehaving("hang"), later...)...)...)
		w.answered(t, l, "1.1.0")
		w.deadline(t, 20*time.Second)
		w.gaveUp(t, l, id, "1.1.0", "", 20)
	})
	w.situation(t, "hosts that are no longer ready", setup{pods: 2}, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", steps("20:60s,50:60s", append(misbehaving("unready"), later...)...)...)
		w.answered(t, l, "1.1.0")
		w.deadline(t, 20*time.Second)
		w.gaveUp(t, l, id, "1.1.0", "", 20)
	})
	w.situation(t, "hosts away for 20 s are not given up", setup{pods: 2}, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", steps("50:20s", append(misbehaving("unready=20s"), later...)...)...)
		shares := w.shares(t, w.revision(t, id).Spec.Hash)
		w.follow(t, id, v1alpha1.Deployed, 2*long)
		t.Logf("the shares were %v", shares())
	})
}
