package stats_test

import (
	"math"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/runtime/stats"
)

// TestFineLatency checks that a duration is in the native bucket whose edges enclose
// it, and in one only.
func TestFineLatency(t *testing.T) {
	all := []time.Duration{time.Second, 2 * time.Second, time.Second / 2, time.Second + 1, time.Second - 1, 250 * time.Microsecond, 3 * time.Millisecond}
	for d := 2 * time.Microsecond; d < time.Hour; d += d/7 + 1 {
		all = append(all, d)
	}
	for _, d := range all {
		c := stats.New(nil)
		c.Answered(d)
		c.Example(d, time.Unix(1, 0), "a trace")
		s := c.Snapshot()
		if len(s.LatencyFine) != 1 || len(s.LatencyExamples) != 1 || s.LatencyExamples[0].Took != d {
			t.Fatalf("%v: %v %v", d, s.LatencyFine, s.LatencyExamples)
		}
		for i, n := range s.LatencyFine {
			low, high := math.Exp2(float64(i-1)/(1<<stats.LatencySchema)), math.Exp2(float64(i)/(1<<stats.LatencySchema))
			const rounding = 1e-12
			if v := d.Seconds(); n != 1 || v <= low*(1-rounding) || v > high*(1+rounding) {
				t.Errorf("%v is in bucket %d, from %v to %v", d, i, low, high)
			}
		}
	}
	c := stats.New(nil)
	for _, d := range []time.Duration{-1, 0, 1, math.MaxInt64} {
		c.Answered(d)
	}
	s := c.Snapshot()
	var n uint64
	for _, k := range s.LatencyFine {
		n += k
	}
	if n != 4 || len(s.LatencyFine) != 2 {
		t.Errorf("out of range: %v", s.LatencyFine)
	}
}
