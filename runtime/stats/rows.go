package stats

import (
	"math"
	"sort"
	"sync/atomic"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Kind is why a row was not scored. Its text is the error_type of a response that
// fails for the same reason.
type Kind uint8

// The kinds of rows without a score.
const (
	RowError         Kind = iota // the row cannot be read, or the detector refuses it
	ScoringError                 // the detector failed
	ValidationError              // the request does not fit the model
	DeadlineExceeded             // there was no answer in time
	Overloaded                   // the host had no room for it
	ModelUnavailable             // the model cannot be called at present
	ClientGone                   // the client has left
	InternalError
	kinds
)

// String returns the error_type.
func (k Kind) String() string {
	return [kinds]string{
		"RowError", "ScoringError", "ValidationError", "DeadlineExceeded", "Overloaded", "ModelUnavailable", "ClientGone", "InternalError",
	}[k]
}

// Call describes the rows of an answered call.
type Call struct {
	Scores    []float64      // oriented, of the rows that the detector received
	Failed    []sdk.RowError // those rows without a score, by index in Scores, ascending
	Nonfinite int            // those of Failed whose score was NaN or infinite
	Faults    int            // those of Failed at which the detector failed, as opposed to refusing the row
	Unread    int            // rows that cannot be read, which the detector did not receive
	Threshold float64
}

// Lost counts the rows of a call that was not answered: the rows that were read, by
// kind, and those that cannot be read.
func (s *Counters) Lost(k Kind, read, unread int) {
	if k == RowError || k == ScoringError { // the detector has received them
		s.rows.Add(uint64(read))
	}
	s.failed[k].Add(uint64(read))
	s.failed[RowError].Add(uint64(unread))
}

// Record counts each row of a call once, by its outcome, and returns how many are
// anomalies.
func (s *Counters) Record(c *Call) (anomalies int) {
	t := totals{low: math.Inf(1), high: math.Inf(-1)}
	if few := 8; len(c.Scores) > few && len(s.bins) <= maxLocal {
		s.recordMany(c, &t)
	} else {
		failed := c.Failed
		for i, v := range c.Scores {
			if len(failed) > 0 && failed[0].Row == i {
				failed = failed[1:]
				continue
			}
			t.add(v, c.Threshold)
			s.bins[sort.SearchFloat64s(s.edges, v)].Add(1)
			s.grid.add(binOf(v), 1)
		}
	}
	anomalies = t.anomalies
	s.rows.Add(uint64(len(c.Scores)))
	if anomalies > 0 {
		s.anomalies.Add(uint64(anomalies))
	}
	if len(c.Failed) > 0 || c.Unread > 0 {
		s.nonfinite.Add(uint64(c.Nonfinite))
		s.failed[ScoringError].Add(uint64(c.Faults))
		s.failed[RowError].Add(uint64(c.Unread + len(c.Failed) - c.Nonfinite - c.Faults))
	}
	s.sum.update(func(old float64) float64 { return old + t.sum })
	if t.low < s.low.load() {
		s.low.update(func(old float64) float64 { return min(old, t.low) })
	}
	if t.high > s.high.load() {
		s.high.update(func(old float64) float64 { return max(old, t.high) })
	}
	return anomalies
}

// totals sums up the scores of one call.
type totals struct {
	sum       float64 // in units of sumUnit
	low, high float64
	anomalies int
}

func (t *totals) add(v, threshold float64) {
	t.sum += v * sumUnit
	if v < t.low {
		t.low = v
	}
	if v > t.high {
		t.high = v
	}
	if v > threshold {
		t.anomalies++
	}
}

// maxLocal is the largest number of bins that are counted locally first, so that
// each is written once.
const maxLocal = 64

// recordMany writes each bin once.
func (s *Counters) recordMany(c *Call, t *totals) {
	var bins [maxLocal]uint64
	var p *pile
	if len(c.Scores) > len(p) {
		p = new(pile)
	}
	failed := c.Failed
	for i, v := range c.Scores {
		if len(failed) > 0 && failed[0].Row == i {
			failed = failed[1:]
			continue
		}
		t.add(v, c.Threshold)
		bins[sort.SearchFloat64s(s.edges, v)]++
		if bin := binOf(v); p != nil {
			p.add(&s.grid, bin)
		} else {
			s.grid.add(bin, 1)
		}
	}
	for i, n := range bins[:len(s.bins)] {
		if n > 0 {
			s.bins[i].Add(n)
		}
	}
	if p != nil {
		p.flush(&s.grid)
	}
}

// number is a float64 that several goroutines change.
type number struct{ bits atomic.Uint64 }

func (n *number) load() float64 { return math.Float64frombits(n.bits.Load()) }

func (n *number) store(v float64) { n.bits.Store(math.Float64bits(v)) }

func (n *number) update(f func(float64) float64) {
	for {
		old := n.bits.Load()
		if n.bits.CompareAndSwap(old, math.Float64bits(f(math.Float64frombits(old)))) {
			return
		}
	}
}

// sumUnit is the unit of sums of scores, chosen so that no sum overflows: there are
// fewer than 2^64 scores. It is a power of 2, so that only scores below 1e-288 lose
// precision.
const sumUnit = 0x1p-64

// sums returns the sum of scores, limited to the range of float64, and their mean.
func (s *Counters) sums(scored uint64) (sum, mean float64) {
	if scored == 0 {
		return 0, 0
	}
	inUnits := s.sum.load()
	return bounded(inUnits / sumUnit), bounded(inUnits / float64(scored) / sumUnit)
}

// bounded returns v, or the largest number of its sign if v is infinite.
func bounded(v float64) float64 { return max(-math.MaxFloat64, min(v, math.MaxFloat64)) }
