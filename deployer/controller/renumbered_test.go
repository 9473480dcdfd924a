package controller

import (
	"testing"

	"github.com/pynomaly/pynomaly-runtime/deployer/gatewaymetrics"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestRenumbered checks of which gateways the counters are taken anew once a revision has
// another place in the route.
func TestRenumbered(t *testing.T) {
	before := [2]gatewaymetrics.Target{{Service: "cardio-b", Backend: 1}, {Service: "cardio-a", Backend: 0}}
	moved := [2]gatewaymetrics.Target{{Service: "cardio-b", Backend: 0}, {Service: "cardio-a", Backend: -1}}
	for kind, want := range map[string]bool{v1alpha1.MetricsTraefik: false, v1alpha1.MetricsEnvoy: true, v1alpha1.MetricsPrometheus: true} {
		if got := renumbered(kind, before, moved); got != want {
			t.Errorf("%s: %t", kind, got)
		}
		if renumbered(kind, before, before) {
			t.Errorf("%s: nothing has moved", kind)
		}
	}
}
