package hostlimits

import (
	"runtime/pprof"
	"testing"
)

// TestReserve checks that the reserved threads exist at the same time.
func TestReserve(t *testing.T) {
	created := pprof.Lookup("threadcreate")
	n := reserveThreads()
	if have := created.Count(); have < n || (left() == 0 && n < spareThreads) {
		t.Errorf("%d threads were created, %d are in reserve", have, n)
	}
}

func TestAffordable(t *testing.T) {
	for _, c := range []struct {
		left uint64
		want int
	}{{0, 20}, {1, 0}, {8, 2}, {79, 19}, {80, 20}, {1 << 60, 20}} {
		if got := affordable(20, c.left); got != c.want {
			t.Errorf("with %d left: %d, want %d", c.left, got, c.want)
		}
	}
}
