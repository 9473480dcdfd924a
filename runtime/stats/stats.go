// Package stats counts what a model has answered: rows, scores in bins, how long
// requests took and how they failed. It also reads the bins that drift is measured by.
//
// How the figures are published is not here, nor are the formulas that other parts of
// the project share: see internal/stats.
package stats

import (
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Counters count what a loaded model has answered.
type Counters struct {
	edges     []float64       // upper edges of the bins, ascending; the last bin is open
	bins      []atomic.Uint64 // len(edges)+1, not cumulative
	rows      atomic.Uint64   // that the detector was given
	anomalies atomic.Uint64
	nonfinite atomic.Uint64
	panics    atomic.Uint64
	sum       number // of finite scores, in sumUnit
	low, high number // of finite scores; infinite where there are none
	grid      grid
	failed    [kinds]atomic.Uint64

	requests atomic.Uint64
	latency  [len(latencyEdges) + 1]atomic.Uint64
	nanos    atomic.Uint64 // of all requests

	mu     sync.Mutex
	errors map[string]uint64 // requests that failed, by type
}

// latencyEdges are the upper edges of the bins of request durations.
var latencyEdges = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond,
	5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Answered counts a request that was answered, and how long that took.
func (s *Counters) Answered(took time.Duration) {
	s.requests.Add(1)
	s.nanos.Add(uint64(max(took, 0)))
	bin := 0
	for bin < len(latencyEdges) && took > latencyEdges[bin] {
		bin++
	}
	s.latency[bin].Add(1)
}

// Panicked counts a panic of the detector.
func (s *Counters) Panicked() { s.panics.Add(1) }

// Edges are the upper edges of the bins of scores, ascending.
func (s *Counters) Edges() []float64 { return s.edges }

// Sketch reads how the scores are spread, finer than the bins do.
func (s *Counters) Sketch() Sketch { return s.grid.sketch() }

// Failed counts a request that failed.
func (s *Counters) Failed(errorType string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.errors == nil {
		s.errors = map[string]uint64{}
	}
	s.errors[errorType]++
}

// Snapshot is what Counters have counted at one moment. Bins are not cumulative; bin i holds the
// scores in (Edges[i-1], Edges[i]], the last one those above every edge.
//
// Each row is counted once: in Scored, Nonfinite or Failed. Rows are those that the detector
// was given.
type Snapshot struct {
	Edges                      []float64
	Bins                       []uint64
	Rows, Anomalies, Nonfinite uint64
	Scored                     uint64
	Failed                     map[string]uint64 // rows without a score, by Kind
	Panics                     uint64            // of the detector
	Sum                        float64           // of the scores, or the largest number where it is beyond that
	Mean                       float64           // of the scores; 0 where there are none
	Low, High                  float64           // the least and the greatest score; infinite where there are none
	Requests                   uint64
	LatencyEdges               []time.Duration
	Latency                    []uint64 // not cumulative, as Bins
	LatencySum                 time.Duration
	Errors                     map[string]uint64
}

// New counts scores in bins with the given upper edges, ascending.
func New(edges []float64) *Counters {
	s := &Counters{edges: edges, bins: make([]atomic.Uint64, len(edges)+1)}
	s.low.store(math.Inf(1))
	s.high.store(math.Inf(-1))
	return s
}

// Snapshot reads the counters.
func (s *Counters) Snapshot() Snapshot {
	out := Snapshot{
		Edges: s.edges, Rows: s.rows.Load(), Anomalies: s.anomalies.Load(), Nonfinite: s.nonfinite.Load(), Panics: s.panics.Load(),
		Bins: make([]uint64, len(s.bins)), Failed: map[string]uint64{},
		Low: s.low.load(), High: s.high.load(),
	}
	for i := range s.bins {
		out.Bins[i] = s.bins[i].Load()
		out.Scored += out.Bins[i]
	}
	out.Sum, out.Mean = s.sums(out.Scored)
	for k := range kinds {
		if n := s.failed[k].Load(); n > 0 {
			out.Failed[k.String()] = n
		}
	}
	out.Requests, out.LatencyEdges = s.requests.Load(), latencyEdges[:]
	out.LatencySum = time.Duration(s.nanos.Load())
	for i := range s.latency {
		out.Latency = append(out.Latency, s.latency[i].Load())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Errors = maps.Clone(s.errors)
	return out
}
