package controller

import (
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
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

// TestMoving checks for how long counters count for neither revision after Services have
// got other names in a gateway's metrics.
func TestMoving(t *testing.T) {
	for kind, want := range map[string]time.Duration{v1alpha1.MetricsTraefik: 0, v1alpha1.MetricsEnvoy: 5 * time.Second, v1alpha1.MetricsPrometheus: time.Minute} {
		if moving(kind, want) || want > 0 && !moving(kind, want-time.Second) {
			t.Errorf("%s: %t after %s, and %t before", kind, moving(kind, want), want, moving(kind, want-time.Second))
		}
	}
}

// TestBeside checks what a pause says of clients that go around the gateway.
func TestBeside(t *testing.T) {
	began := time.Now()
	for name, c := range map[string]struct {
		hosts, streamed int64
		gateway         *gate.Gateway
		says            string
	}{
		"nobody asks the gateway": {hosts: 500, says: ""},
		"all through the gateway": {hosts: 500, gateway: &gate.Gateway{Requests: 495}, says: ""},
		"messages of WebSockets":  {hosts: 500, streamed: 400, gateway: &gate.Gateway{Requests: 104}, says: ""},
		"half over the Service":   {hosts: 500, gateway: &gate.Gateway{Requests: 250}, says: "; 50 % of them came beside the gateway, over the Service"},
		"a restarted controller":  {hosts: 10, gateway: &gate.Gateway{Requests: 900}, says: ""},
	} {
		k := &comparison{sides: map[string]*gate.Tracker{}, counted: map[string]*gate.Gateway{}}
		for _, hash := range []string{"a", "b"} {
			k.sides[hash] = gate.NewTracker(began)
			k.sides[hash].Update([]gate.Pod{{UID: hash, Start: began, Stats: gate.Sample{Requests: c.hosts, Streamed: c.streamed}}})
			if c.gateway != nil {
				k.counted[hash] = c.gateway
			}
		}
		if got := k.beside(); got != c.says {
			t.Errorf("%s: %q, not %q", name, got, c.says)
		}
	}
}
