// Package stats counts what a model has answered: rows, scores in bins, the
// durations of requests, and their failures. It also reads the bins for measuring
// drift.
//
// Other packages publish the figures. internal/stats has the formulas that other
// parts of the project share.
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
	rows      atomic.Uint64   // that the detector received
	anomalies atomic.Uint64
	nonfinite atomic.Uint64
	panics    atomic.Uint64
	sum       number // of finite scores, in units of sumUnit
	low, high number // of finite scores; infinite if there are none
	grid      grid
	failed    [kinds]atomic.Uint64

	requests atomic.Uint64
	pinned   atomic.Uint64 // of requests: named this version
	streamed atomic.Uint64 // of requests: came over a connection that stays with the host
	nanos    atomic.Uint64 // sum of the durations of requests
	latency  latency

	mu     sync.Mutex
	errors map[string]uint64 // failed requests, by type
}

// Panicked counts a panic of the detector.
func (s *Counters) Panicked() { s.panics.Add(1) }

// Pinned counts an answered request that named this very version.
func (s *Counters) Pinned() { s.pinned.Add(1) }

// Streamed counts an answered request of a connection that stays with the host.
func (s *Counters) Streamed() { s.streamed.Add(1) }

// Edges returns the upper edges of the bins of scores, ascending.
func (s *Counters) Edges() []float64 { return s.edges }

// Sketch returns the distribution of the scores, finer than the bins.
func (s *Counters) Sketch() Sketch { return s.grid.sketch() }

// Failed counts a failed request.
func (s *Counters) Failed(errorType string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.errors == nil {
		s.errors = map[string]uint64{}
	}
	s.errors[errorType]++
}

// Snapshot holds the values of Counters at one moment. Bins are not cumulative: bin
// i has the scores in (Edges[i-1], Edges[i]], and the last bin those above every
// edge.
//
// Each row is counted once, in Scored, Nonfinite or Failed. Rows counts those that
// the detector received.
type Snapshot struct {
	Edges                      []float64
	Bins                       []uint64
	Rows, Anomalies, Nonfinite uint64
	Scored                     uint64
	Failed                     map[string]uint64 // rows without a score, by Kind
	Panics                     uint64            // of the detector
	Sum                        float64           // of the scores, limited to the range of float64
	Mean                       float64           // of the scores; 0 if there are none
	Low, High                  float64           // the least and the greatest score; infinite if there are none
	Requests                   uint64
	Pinned                     uint64 // of Requests: named this very version
	Streamed                   uint64 // of Requests: came over a connection that stays with the host
	LatencyEdges               []time.Duration
	Latency                    []uint64       // not cumulative, like Bins
	LatencyFine                map[int]uint64 // by the index of a native bucket, see LatencySchema
	LatencyExamples            []Example
	LatencySum                 time.Duration
	Errors                     map[string]uint64
}

// New returns Counters with the given upper edges of bins, ascending.
func New(edges []float64) *Counters {
	s := &Counters{edges: edges, bins: make([]atomic.Uint64, len(edges)+1)}
	s.low.store(math.Inf(1))
	s.high.store(math.Inf(-1))
	return s
}

// Snapshot returns the present values.
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
	out.Requests, out.Pinned, out.Streamed, out.LatencyEdges = s.requests.Load(), s.pinned.Load(), s.streamed.Load(), latencyEdges[:]
	out.LatencySum = time.Duration(s.nanos.Load())
	s.latency.snapshot(&out)
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Errors = maps.Clone(s.errors)
	return out
}
