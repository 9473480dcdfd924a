// Package gate decides from counters whether a new revision of a model may get more
// traffic.
//
// It fetches nothing. deployer/controller passes the counters of both revisions'
// hosts, and deployer/strategy acts on the verdicts.
package gate

import (
	"slices"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api"
)

// Sample is what one side of a comparison has counted.
type Sample struct {
	Requests   int64 // answered
	Errors     int64 // failed as a whole, for any reason
	Rows       int64 // judged, or failed alone; of single requests and of batches
	Failed     int64 // of Rows: unreadable, refused by the detector, or failed in it
	Anomalies  int64
	Nonfinite  int64
	Scores     api.Histogram
	Durations  api.Histogram
	Mixed      bool // the hosts count scores in different bins
	Sketch     api.Sketch
	Unsketched bool     // a host has counted scores without a sketch
	Span       *Span    // nil: not known
	Pinned     int64    // of Requests: named the version
	Streamed   int64    // of Requests: came over connections that stay with a host
	Unknown    int64    // of Errors: named a version that the hosts do not serve
	Gateway    *Gateway // nil: nobody asks it
}

// Gateway is what the gateway has counted for one side. It includes requests that
// failed before they reached a host.
type Gateway struct {
	Requests  int64 // all of them
	Errors    int64 // of Requests: answered with 500 and above
	Durations api.Histogram
}

// rowKinds returns the kinds of failures that concern one row. The rows of a request
// that fails as a whole depend on each other: they count as one error.
func rowKinds() []api.ErrorType { return []api.ErrorType{api.RowError, api.ScoringError} }

// FromStats converts a host's counters.
func FromStats(s *api.Stats) Sample {
	out := Sample{
		Requests: int64(s.Requests), Rows: int64(s.Scored + s.Nonfinite), Anomalies: int64(s.Anomalies), Nonfinite: int64(s.Nonfinite),
		Scores: s.Histogram, Durations: s.Durations, Unsketched: s.Sketch == nil && Total(s.Histogram) > 0,
	}
	if s.Sketch != nil && len(s.Sketch.Edges) == len(s.Sketch.Counts) {
		out.Sketch = *s.Sketch
	}
	if s.ScoreMin != nil && s.ScoreMax != nil {
		out.Span = &Span{*s.ScoreMin, *s.ScoreMax}
	}
	for _, n := range s.Errors {
		out.Errors += int64(n)
	}
	out.Pinned, out.Streamed = int64(s.Pinned), int64(s.Streamed)
	for _, n := range s.UnknownVersions { // they are in no version's errors
		out.Unknown += int64(n)
	}
	if s.Failed == nil { // an older host: the errors are those of single rows
		out.Failed, out.Rows = out.Errors, int64(s.Rows)
	}
	for _, kind := range rowKinds() {
		out.Failed += int64(s.Failed[string(kind)])
	}
	out.Rows += out.Failed
	out.Errors += out.Unknown
	return out
}

// Size returns the number of samples: rows, or requests if there are no rows.
func (s Sample) Size() int64 { return max(s.Rows, s.Requests+s.Errors) }

// Seen returns how many samples there are to look at: those of Size, or the requests
// that the gateway has counted if those are more.
func (s Sample) Seen() int64 {
	if s.Gateway == nil {
		return s.Size()
	}
	return max(s.Size(), s.Gateway.Requests)
}

// plus adds sign times o. What the gateway has counted is not added up here.
func (s Sample) plus(o Sample, sign int64) Sample {
	s.Requests += sign * o.Requests
	s.Errors += sign * o.Errors
	s.Rows += sign * o.Rows
	s.Failed += sign * o.Failed
	s.Anomalies += sign * o.Anomalies
	s.Nonfinite += sign * o.Nonfinite
	s.Pinned += sign * o.Pinned
	s.Streamed += sign * o.Streamed
	s.Unknown += sign * o.Unknown
	s.Mixed, s.Unsketched = s.Mixed || o.Mixed, s.Unsketched || o.Unsketched
	s.Sketch = plusSketch(s.Sketch, o.Sketch, sign)
	switch {
	case s.Span == nil:
		s.Span = o.Span
	case o.Span != nil && sign > 0:
		s.Span = &Span{min(s.Span.Low, o.Span.Low), max(s.Span.High, o.Span.High)}
	}
	var same bool
	if s.Scores, same = plus(s.Scores, o.Scores, sign); !same {
		s.Mixed = true
	}
	s.Durations, _ = plus(s.Durations, o.Durations, sign) // the edges are the host's own
	return s
}

// plus adds histograms of the same bins. If the bins differ, it returns a and false.
func plus(a, b api.Histogram, sign int64) (api.Histogram, bool) {
	switch {
	case len(b.Counts) == 0:
		return a, true
	case len(a.Counts) == 0:
		a = api.Histogram{Edges: b.Edges, Counts: make([]uint64, len(b.Counts))}
	case !slices.Equal(a.Edges, b.Edges) || len(a.Counts) != len(b.Counts):
		return a, false
	}
	counts := slices.Clone(a.Counts)
	for i, n := range b.Counts {
		if sign < 0 {
			counts[i] -= min(n, counts[i])
		} else {
			counts[i] += n
		}
	}
	return api.Histogram{Edges: a.Edges, Counts: counts}, true
}

// Pod is what one host has counted.
type Pod struct {
	UID   string
	Start time.Time // start of its process, when its counters were 0
	Stats Sample
}

// Tracker adds up what the pods of one side count from a moment on. The counts of
// replaced pods stay. A new start time of a pod's process shows that its counters
// began again.
type Tracker struct {
	began time.Time
	pods  map[string]*tracked
}

type tracked struct {
	start      time.Time
	base, last Sample
	done       Sample // of the pod's earlier processes
}

// NewTracker returns a Tracker that counts from now on.
func NewTracker(now time.Time) *Tracker { return &Tracker{began: now, pods: map[string]*tracked{}} }

// Update takes the present counters of the pods.
func (t *Tracker) Update(pods []Pod) {
	for _, p := range pods {
		known := t.pods[p.UID]
		switch {
		case known == nil:
			known = &tracked{start: p.Start}
			if p.Start.Before(t.began) {
				known.base = p.Stats
			}
			t.pods[p.UID] = known
		case !known.start.Equal(p.Start):
			known.done = known.done.plus(known.last.plus(known.base, -1), 1)
			known.start, known.base = p.Start, Sample{}
		}
		known.last = p.Stats
	}
}

// Sum returns what the pods have counted since the beginning.
func (t *Tracker) Sum() Sample {
	var sum Sample
	for _, p := range t.pods {
		sum = sum.plus(p.done, 1).plus(p.last.plus(p.base, -1), 1)
	}
	return sum
}
