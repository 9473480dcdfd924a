package stats

import (
	"math"
	"sort"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Kind is why a row was not scored. Its text is the error_type of an answer that fails
// for the same reason.
type Kind uint8

// The kinds.
const (
	RowError         Kind = iota // the row cannot be read, or the detector refuses it
	ScoringError                 // the detector failed
	ValidationError              // what was asked of the row does not go with the model
	DeadlineExceeded             // there was no answer in time
	Overloaded                   // the host had no room for it
	ModelUnavailable             // the model cannot be called for now
	ClientGone                   // whoever asked has left
	InternalError
	kinds
)

// String is the error_type.
func (k Kind) String() string {
	return [kinds]string{
		"RowError", "ScoringError", "ValidationError", "DeadlineExceeded", "Overloaded", "ModelUnavailable", "ClientGone", "InternalError",
	}[k]
}

// Call is what became of the rows of a call that was answered.
type Call struct {
	Scores    []float64      // oriented, of the rows that the detector was given
	Failed    []sdk.RowError // of these, the ones without a score, by their place in Scores, ascending
	Nonfinite int            // of Failed: the score was NaN or infinite
	Faults    int            // of Failed: the detector failed, other than by a word on the row
	Unread    int            // rows that cannot be read: the detector was not given them
	Threshold float64
}

// Lost counts the rows of a call that was not answered: the ones that were read, by why it
// was not, and those that cannot be read.
func (s *Counters) Lost(k Kind, read, unread int) {
	if k == RowError || k == ScoringError { // the detector has had them
		s.rows.Add(uint64(read))
	}
	s.failed[k].Add(uint64(read))
	s.failed[RowError].Add(uint64(unread))
}

// Record counts each row of a call once, by its outcome, and returns how many of them
// are anomalies.
func (s *Counters) Record(c *Call) (anomalies int) {
	const few = 64
	var sum float64
	var local [few]uint64
	useLocal := len(c.Scores) > 8 && len(s.bins) <= few
	failed := c.Failed
	for i, v := range c.Scores {
		if len(failed) > 0 && failed[0].Row == i {
			failed = failed[1:]
			continue
		}
		sum += v * sumUnit
		if v > c.Threshold {
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
	s.rows.Add(uint64(len(c.Scores)))
	if anomalies > 0 {
		s.anomalies.Add(uint64(anomalies))
	}
	if len(c.Failed) > 0 || c.Unread > 0 {
		s.nonfinite.Add(uint64(c.Nonfinite))
		s.failed[ScoringError].Add(uint64(c.Faults))
		s.failed[RowError].Add(uint64(c.Unread + len(c.Failed) - c.Nonfinite - c.Faults))
	}
	for {
		old := s.sum.Load()
		if s.sum.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+sum)) {
			return anomalies
		}
	}
}

// sumUnit is what scores are added up in, so that no sum of them overflows: there are
// fewer than 2^64. It is a power of 2, so that nothing is lost, but of scores below
// 1e-288.
const sumUnit = 0x1p-64

// sums are the sum of scores, at the largest numbers at most, and their mean.
func (s *Counters) sums(scored uint64) (sum, mean float64) {
	if scored == 0 {
		return 0, 0
	}
	inUnits := math.Float64frombits(s.sum.Load())
	return bounded(inUnits / sumUnit), bounded(inUnits / float64(scored) / sumUnit)
}

// bounded is v, or the largest number of its sign where it is infinite.
func bounded(v float64) float64 { return max(-math.MaxFloat64, min(v, math.MaxFloat64)) }
