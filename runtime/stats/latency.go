package stats

import (
	"math"
	"sync/atomic"
	"time"
)

// latencyEdges are the upper edges of the bins of request durations.
var latencyEdges = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond,
	5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// LatencySchema is the resolution of Snapshot.LatencyFine, as Prometheus defines the
// schema of native histograms: each power of 2 of seconds has 1<<LatencySchema
// buckets. Bucket i has durations in (2^((i-1)/4), 2^(i/4)].
const LatencySchema = 2

// The native buckets: durations below the first one or above the last one are counted
// in those.
const (
	fineFirst = -20 << LatencySchema // below 2^-20 s, about a microsecond
	fineLast  = 12 << LatencySchema  // 2^12 s
)

// latency counts the durations of answered requests, in the bins of latencyEdges and
// in native buckets, and keeps an example for each bin.
type latency struct {
	bins     [len(latencyEdges) + 1]atomic.Uint64
	fine     [fineLast - fineFirst + 1]atomic.Uint64
	examples [len(latencyEdges) + 1]atomic.Pointer[Example]
}

// Example is a request of a trace.
type Example struct {
	Took    time.Duration
	At      time.Time
	TraceID string
}

func binOfLatency(took time.Duration) int {
	bin := 0
	for bin < len(latencyEdges) && took > latencyEdges[bin] {
		bin++
	}
	return bin
}

// quarters are the lower edges of the native buckets in [0.5, 1).
var quarters = [1 << LatencySchema]float64{0.5, 0.5946035575013605, 0.7071067811865475, 0.8408964152537144}

// fineOf returns the index of a duration's native bucket.
func fineOf(took time.Duration) int {
	if took <= 0 {
		return fineFirst
	}
	part, power := math.Frexp(took.Seconds()) // part is in [0.5, 1)
	index := (power - 1) << LatencySchema
	for _, edge := range quarters {
		if part > edge {
			index++
		}
	}
	return min(max(index, fineFirst), fineLast)
}

// Answered counts an answered request and its duration.
func (s *Counters) Answered(took time.Duration) {
	s.requests.Add(1)
	s.nanos.Add(uint64(max(took, 0)))
	s.latency.bins[binOfLatency(took)].Add(1)
	s.latency.fine[fineOf(took)-fineFirst].Add(1)
}

// Example keeps a request that Answered has counted as the example of its bin.
func (s *Counters) Example(took time.Duration, at time.Time, traceID string) {
	s.latency.examples[binOfLatency(took)].Store(&Example{Took: took, At: at, TraceID: traceID})
}

func (l *latency) snapshot(out *Snapshot) {
	out.LatencyFine = map[int]uint64{}
	for i := range l.fine {
		if n := l.fine[i].Load(); n > 0 {
			out.LatencyFine[fineFirst+i] = n
		}
	}
	for i := range l.bins {
		out.Latency = append(out.Latency, l.bins[i].Load())
	}
	for i := range l.examples {
		if e := l.examples[i].Load(); e != nil {
			out.LatencyExamples = append(out.LatencyExamples, *e)
		}
	}
}
