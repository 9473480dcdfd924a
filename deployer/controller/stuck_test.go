package controller

import (
	"testing"

	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
)

// TestStuckTo checks what a pause says of requests that no weight moves.
func TestStuckTo(t *testing.T) {
	for _, c := range []struct {
		update, stable gate.Sample
		want           string
	}{
		{gate.Sample{Requests: 50}, gate.Sample{Requests: 50}, ""},
		{gate.Sample{}, gate.Sample{}, ""},
		{gate.Sample{Requests: 100}, gate.Sample{Requests: 900, Pinned: 9}, ""},
		{gate.Sample{Requests: 100}, gate.Sample{Requests: 900, Pinned: 15}, "; 1.5 % of them name a version"},
		{gate.Sample{Requests: 80, Errors: 20, Unknown: 20}, gate.Sample{Requests: 100, Pinned: 40, Streamed: 10}, "; 30 % of them name a version; 5 % of them came over WebSockets"},
		{gate.Sample{Requests: 10, Streamed: 10}, gate.Sample{Requests: 90, Streamed: 90}, "; 100 % of them came over WebSockets"},
	} {
		if got := stuckTo(c.update, c.stable); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
