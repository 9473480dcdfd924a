// Package stats counts what a model has answered: rows, scores in bins, how long
// requests took and how they failed. It also reads the bins that drift is measured by.
//
// How the figures are published is not here, nor are the formulas that other parts of
// the project share: see internal/stats.
package stats

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"go.yaml.in/yaml/v3"

	y "github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
)

// Counters count what a loaded model has answered.
type Counters struct {
	edges     []float64       // upper edges of the bins, ascending; the last bin is open
	bins      []atomic.Uint64 // len(edges)+1, not cumulative
	rows      atomic.Uint64
	anomalies atomic.Uint64
	nonfinite atomic.Uint64
	panics    atomic.Uint64
	sum       atomic.Uint64 // bits of the sum of finite scores

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

// RowsFailed counts rows that have no score.
func (s *Counters) RowsFailed(n int) { s.rows.Add(uint64(n)) }

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
type Snapshot struct {
	Edges                      []float64
	Bins                       []uint64
	Rows, Anomalies, Nonfinite uint64
	Panics                     uint64 // of the detector
	Sum                        float64
	Requests                   uint64
	LatencyEdges               []time.Duration
	Latency                    []uint64 // not cumulative, as Bins
	LatencySum                 time.Duration
	Errors                     map[string]uint64
}

// New counts scores in bins with the given upper edges, ascending.
func New(edges []float64) *Counters {
	return &Counters{edges: edges, bins: make([]atomic.Uint64, len(edges)+1)}
}

// Snapshot reads the counters.
func (s *Counters) Snapshot() Snapshot {
	out := Snapshot{
		Edges: s.edges, Rows: s.rows.Load(), Anomalies: s.anomalies.Load(), Nonfinite: s.nonfinite.Load(), Panics: s.panics.Load(),
		Sum: math.Float64frombits(s.sum.Load()), Bins: make([]uint64, len(s.bins)),
	}
	for i := range s.bins {
		out.Bins[i] = s.bins[i].Load()
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

// Record counts the oriented scores of one call.
func (s *Counters) Record(scores []float64, threshold float64) {
	const few = 64
	var anomalies, nonfinite uint64
	var sum float64
	var local [few]uint64
	useLocal := len(scores) > 8 && len(s.bins) <= few
	for _, v := range scores {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			nonfinite++
			continue
		}
		sum += v
		if v > threshold {
			anomalies++
		}
		bin := sort.SearchFloat64s(s.edges, v)
		if useLocal {
			local[bin]++
		} else {
			s.bins[bin].Add(1)
		}
	}
	if useLocal {
		for i, n := range local[:len(s.bins)] {
			if n > 0 {
				s.bins[i].Add(n)
			}
		}
	}
	s.rows.Add(uint64(len(scores)))
	if anomalies > 0 {
		s.anomalies.Add(anomalies)
	}
	if nonfinite > 0 {
		s.nonfinite.Add(nonfinite)
	}
	for {
		old := s.sum.Load()
		if s.sum.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+sum)) {
			return
		}
	}
}

// DefaultEdges are log-spaced around zero: three per decade from 0.001 to 1000,
// on both sides.
func DefaultEdges() []float64 {
	var positive []float64
	for decade := -3; decade <= 2; decade++ {
		for _, step := range []float64{1, 2, 5} {
			positive = append(positive, step*math.Pow(10, float64(decade)))
		}
	}
	positive = append(positive, 1000)
	edges := []float64{0}
	for _, v := range positive {
		edges = append(edges, v, -v)
	}
	slices.Sort(edges)
	return edges
}

// DriftEdges reads the score's bins from a drift file: {score: {edges,
// proportions}, features: {name: {edges or categories, proportions}}}.
func DriftEdges(data []byte) ([]float64, error) {
	var score bins
	features := map[string]*bins{}
	d := y.Decode(data, y.Fields{
		"score": score.fields(),
		"features": y.Map(func(name string) y.Field {
			features[name] = &bins{}
			return features[name].fields()
		}),
	})
	score.check(d, "score")
	for name, b := range features {
		b.check(d, "features."+name)
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	return score.edges, nil
}

// bins are reference-quantile bins; bin i is (edges[i-1], edges[i]].
type bins struct {
	edges, proportions []float64
	categories         []string
}

func (b *bins) fields() y.Field {
	floats := func(to *[]float64) y.Field {
		return y.List(func(i int) y.Field {
			return func(d *y.Decoder, n *yaml.Node, path *y.Path) {
				*to = append(*to, 0)
				y.Float(&(*to)[i])(d, n, path)
			}
		})
	}
	return y.Object(y.Fields{"edges": floats(&b.edges), "proportions": floats(&b.proportions), "categories": y.Strings(&b.categories)})
}

func (b *bins) check(d *y.Decoder, path string) {
	const most = 1000
	want := len(b.edges) + 1
	if b.categories != nil {
		want = len(b.categories)
	}
	switch {
	case len(b.edges) == 0 && b.categories == nil:
		d.Problemf(path, "needs edges")
	case want > most:
		d.Problemf(path, "has %d bins; at most %d are kept", want, most)
	case len(b.proportions) != want:
		d.Problemf(path+".proportions", "must list %d shares, one a bin", want)
	}
	for i := 1; i < len(b.edges); i++ {
		if b.edges[i] <= b.edges[i-1] {
			d.Problemf(fmt.Sprintf("%s.edges[%d]", path, i), "must be above the edge before it")
		}
	}
}
