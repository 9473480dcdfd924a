package stats

import (
	"maps"
	"slices"
)

// Plus returns the sum of two snapshots. If their bins differ, the sum has neither
// bins nor edges. It has no fine bins and no examples of durations.
func (s Snapshot) Plus(o *Snapshot) Snapshot {
	scored := s.Scored + o.Scored
	if scored > 0 { // compute shares first, because sums may overflow
		s.Mean = s.Mean*(float64(s.Scored)/float64(scored)) + o.Mean*(float64(o.Scored)/float64(scored))
		s.Mean = bounded(s.Mean)
	}
	s.Sum = bounded(s.Sum + o.Sum)
	s.Low, s.High = min(s.Low, o.Low), max(s.High, o.High)
	s.Rows += o.Rows
	s.Scored = scored
	s.Anomalies += o.Anomalies
	s.Nonfinite += o.Nonfinite
	s.Panics += o.Panics
	s.Requests += o.Requests
	s.Pinned += o.Pinned
	s.Streamed += o.Streamed
	s.LatencySum += o.LatencySum
	s.LatencyFine, s.LatencyExamples = nil, nil
	s.Latency = plus(s.Latency, o.Latency)
	s.Failed, s.Errors = plusMaps(s.Failed, o.Failed), plusMaps(s.Errors, o.Errors)
	if slices.Equal(s.Edges, o.Edges) && len(s.Bins) == len(o.Bins) {
		s.Bins = plus(s.Bins, o.Bins)
	} else {
		s.Edges, s.Bins = []float64{}, []uint64{}
	}
	return s
}

func plus(a, b []uint64) []uint64 {
	out := slices.Clone(a)
	for i, n := range b {
		out[i] += n
	}
	return out
}

func plusMaps(a, b map[string]uint64) map[string]uint64 {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]uint64{}
	}
	for k, n := range b {
		out[k] += n
	}
	return out
}
