package model

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/pynomaly/pynomaly-runtime/internal/stats"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// calibration maps oriented scores to 0..1. If nil, scores are returned unchanged.
type calibration struct {
	method              string
	min, max, mean, std float64
	scores              []float64 // ascending
	ranks               *stats.Ranks
}

func newCalibration(c *manifest.Calibration, files map[string][]byte) (*calibration, error) {
	if c == nil {
		return nil, nil
	}
	out := &calibration{method: c.Method}
	if c.Scores != "" {
		var err error
		if out.scores, err = readScores(files[c.Scores]); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Scores, err)
		}
		out.min, out.max = out.scores[0], out.scores[len(out.scores)-1]
		out.mean, out.std = stats.MeanStd(out.scores)
		out.ranks = stats.NewRanks(out.scores)
	}
	for _, given := range []struct{ from, to *float64 }{{c.Min, &out.min}, {c.Max, &out.max}, {c.Mean, &out.mean}, {c.Std, &out.std}} {
		if given.from != nil {
			*given.to = *given.from
		}
	}
	if c.Method == manifest.CalibrateLinear && out.min >= out.max {
		return nil, fmt.Errorf("calibration: linear from %v to %v needs training scores that differ, or min and max of which max is larger; ecdf_midrank takes any", out.min, out.max)
	}
	if c.Method == manifest.CalibrateUnify && out.std <= 0 {
		return nil, fmt.Errorf("calibration: unify with a deviation of %v needs training scores that differ, or std; ecdf_midrank takes any", out.std)
	}
	return out, nil
}

// readScores decodes sorted little-endian float64.
func readScores(data []byte) ([]float64, error) {
	if len(data) == 0 || len(data)%8 != 0 {
		return nil, fmt.Errorf("has %d bytes; training scores are little-endian float64, 8 bytes each, at least one", len(data))
	}
	out := make([]float64, len(data)/8)
	for i := range out {
		out[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:]))
		if math.IsNaN(out[i]) || math.IsInf(out[i], 0) {
			return nil, fmt.Errorf("training score %d is %v: leave out rows that have no finite score", i, out[i])
		}
	}
	if !slices.IsSorted(out) {
		return nil, errors.New("training scores must be sorted, smallest first")
	}
	return out, nil
}

// training returns the scores of the training rows, ascending, or nil if unknown.
func (c *calibration) training() []float64 {
	if c == nil {
		return nil
	}
	return c.scores
}

// bytes returns the memory of the calibration.
func (c *calibration) bytes() int64 {
	if c == nil {
		return 0
	}
	if c.ranks == nil {
		return 0
	}
	return 8*int64(len(c.scores)) + c.ranks.Bytes()
}

// rank returns how many training scores are at most s; 0 if there are none.
func (c *calibration) rank(s float64) int {
	if c == nil || c.ranks == nil {
		return 0
	}
	return c.ranks.AtMost(s)
}

// of returns the calibrated score of a score with a rank.
func (c *calibration) of(s float64, rank int) float64 {
	switch c.method {
	case manifest.CalibrateLinear:
		return stats.Linear(s, c.min, c.max)
	case manifest.CalibrateUnify:
		return stats.Unify(s, c.mean, c.std)
	case manifest.CalibrateMidrank:
		return float64(c.ranks.Below(s)+rank) / float64(2*len(c.scores))
	default:
		return float64(rank) / float64(len(c.scores))
	}
}

// confidence computes ExCeeD. It depends only on the number of training scores that
// are at most the score, so every value is computed once.
type confidence struct {
	n     int
	gamma float64
	table []atomic.Uint64 // bits of ExCeeD by count; 0: not computed yet
}

func newConfidence(m *manifest.Manifest, c *calibration) (*confidence, error) {
	if m.Confidence == nil {
		return nil, nil
	}
	if c == nil || c.scores == nil {
		return nil, errors.New("confidence needs calibration.scores")
	}
	n := m.Confidence.TrainingSize
	if n == 0 {
		n = len(c.scores)
	}
	if n != len(c.scores) {
		return nil, fmt.Errorf("confidence.training_size is %d, but %s holds %d scores", n, m.Calibration.Scores, len(c.scores))
	}
	return &confidence{n: n, gamma: m.Confidence.Contamination, table: make([]atomic.Uint64, n+1)}, nil
}

// bytes returns the memory of the confidence without the calibration.
func (c *confidence) bytes() int64 {
	if c == nil {
		return 0
	}
	return 8 * int64(len(c.table))
}

// of returns the confidence that a row whose score has a rank is, or is not, an anomaly.
func (c *confidence) of(rank int, anomaly bool) float64 {
	const computed = 1 // the last bit of a float64 marks computed values; it is far below ExCeeD's resolution
	bits := c.table[rank].Load()
	if bits == 0 {
		bits = math.Float64bits(stats.ExCeeD(c.n, rank, c.gamma)) | computed
		c.table[rank].Store(bits)
	}
	v := min(math.Float64frombits(bits), 1)
	if !anomaly {
		return 1 - v
	}
	return v
}
