//go:build e2e

package e2e

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestGatewayMetrics rolls out versions whose requests fail where no host counts them.
func TestGatewayMetrics(t *testing.T) {
	w := open(t, busy, "restarts", "oom-kills")
	defer w.table(t)
	w.environment(t, func(e *v1alpha1.EnvironmentSpec) {
		e.GatewayMetrics = &v1alpha1.GatewayMetrics{Kind: v1alpha1.MetricsTraefik, URL: "http://" + node() + ":9100/metrics"}
	})
	t.Cleanup(func() {
		w.environment(t, func(e *v1alpha1.EnvironmentSpec) { e.GatewayMetrics = nil })
	})
	w.situation(t, "5 percent answered 500 in front of the host", setup{pods: 2, mayLose: 5}, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", steps("20:60s,50:60s", misbehaving("error=5%")...)...)
		w.gaveUp(t, l, id, "1.1.0", "error-rate", 20)
	})
	w.situation(t, "crashes that only the gateway sees", setup{pods: 2, mayLose: 15}, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", steps("20:60s,50:60s", misbehaving("crash=5%")...)...)
		w.gaveUp(t, l, id, "1.1.0", "error-rate", 20)
	})
	w.scenario(t, "the gateway's metrics pass a good version", 2, func(t *testing.T, l *load) {
		id := w.deploy(t, "1.1.0", steps("20:5s,50:5s")...)
		seen := false
		w.eventually(t, long, id+" is deployed", func() bool {
			s := w.state(t).Status
			seen = seen || slices.ContainsFunc(s.Verdicts, func(v v1alpha1.Verdict) bool { return v.Gate == "gateway-metrics" && v.Result == "Pass" && v.N > 0 })
			return w.phase(t, id) == v1alpha1.Deployed
		})
		if !seen {
			t.Errorf("the verdicts are %+v", w.state(t).Status.Verdicts)
		}
		w.only(t, l, "1.1.0", "1.0.0")
	})
	w.scenario(t, "the gateway's metrics cannot be read: no pass", 2, func(t *testing.T, l *load) {
		w.environment(t, func(e *v1alpha1.EnvironmentSpec) { e.GatewayMetrics.URL = "http://" + node() + ":9101/metrics" })
		id := w.deploy(t, "1.2.0", steps("20:1s")...)
		w.answered(t, l, "1.2.0")
		w.deadline(t, 10*time.Second)
		w.gaveUp(t, l, id, "1.2.0", "", 20)
	})
}

// TestMemory ends controllers while a step waits for rows. What they have counted must not
// be counted again from the start.
func TestMemory(t *testing.T) {
	w := open(t, busy)
	defer w.table(t)
	w.scenario(t, "controllers end while a step waits for rows", 2, func(t *testing.T, l *load) {
		const need, kills = 600, 3
		id := w.deploy(t, "1.1.0", steps("50:1s:600rows,60:1s")...)
		killed, most := 0, int64(0)
		w.eventually(t, 2*long, id+" is deployed", func() bool {
			s := w.state(t).Status
			if r := s.Rollout.Rows; r != nil && s.Rollout.Step == 0 {
				sum := r.Before + r.Counted
				if sum < most {
					t.Fatalf("%d rows were counted, and now %d", most, sum)
				}
				if most = sum; killed < kills && sum > int64(killed+1)*need/(kills+1) {
					killed++
					for _, p := range w.controllers(t) {
						if err := w.Delete(context.Background(), &p); err != nil {
							t.Error(err)
						}
					}
				}
			}
			return w.phase(t, id) == v1alpha1.Deployed
		})
		if killed != kills || most < need*9/10 {
			t.Errorf("controllers ended %d times, and %d rows were counted", killed, most)
		}
		w.only(t, l, "1.1.0", "1.0.0")
	})
}
