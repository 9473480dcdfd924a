package neighbours

import (
	"context"
	"fmt"
	"math"
)

// Reduction turns the k distances of a row into one number.
type Reduction int

// The reductions.
const (
	Farthest Reduction = iota // the k-th distance
	Mean
	Median
)

// Scorer scores rows by their neighbours. It is safe for concurrent use.
type Scorer struct {
	index  *Index
	reduce Reduction
	lof    *LOF // nil: reduce is used
	pool   chan *Scratch
}

// LOF is what a local outlier factor knows of each training row.
//
// The factor of a row q with the neighbours o is mean(lrd(o)) / lrd(q), where
// lrd(q) = 1 / (mean(max(dist(q, o), kdist(o))) + epsilon): Breunig et al., "LOF:
// identifying density-based local outliers", SIGMOD 2000, with scikit-learn's
// epsilon of 1e-10.
type LOF struct {
	KDist   []float32 // distance of each training row to its k-th neighbour
	LRD     []float32 // local reachability density of each training row
	Epsilon float32
}

// NewDistance returns a scorer of distances.
func NewDistance(x *Index, r Reduction) (*Scorer, error) {
	if r < Farthest || r > Median {
		return nil, fmt.Errorf("unknown reduction %d", int(r))
	}
	return &Scorer{index: x, reduce: r, pool: make(chan *Scratch, scratches)}, nil
}

// NewLOF returns a scorer of local outlier factors.
func NewLOF(x *Index, l LOF) (*Scorer, error) {
	if len(l.KDist) != x.n || len(l.LRD) != x.n {
		return nil, fmt.Errorf("%d distances and %d densities for %d training rows", len(l.KDist), len(l.LRD), x.n)
	}
	return &Scorer{index: x, lof: &l, pool: make(chan *Scratch, scratches)}, nil
}

// scratches is how many idle scratches are kept.
const scratches = 16

// Index returns the index of the training rows.
func (s *Scorer) Index() *Index { return s.index }

// Bytes returns the memory of the scorer.
func (s *Scorer) Bytes() int64 {
	if s.lof != nil {
		return s.index.Bytes() + 8*int64(s.index.n)
	}
	return s.index.Bytes()
}

// Score writes one number per row, NaN for a row without distances. rows are
// row-major. It ends early with ctx's error.
func (s *Scorer) Score(ctx context.Context, rows []float32, out []float32) error {
	scratch := s.scratch()
	defer s.release(scratch)
	d := s.index.d
	for from := 0; from < len(out); from += tile {
		if from > 0 && ctx.Err() != nil {
			return fmt.Errorf("scoring row %d: %w", from, ctx.Err())
		}
		n := min(tile, len(out)-from)
		s.index.Nearest(rows[from*d:(from+n)*d], scratch)
		for i := range n {
			out[from+i] = s.of(scratch.Of(i))
		}
	}
	return nil
}

func (s *Scorer) of(dist []float32, row []int32) float32 {
	if len(dist) == 0 {
		return float32(math.NaN())
	}
	if s.lof != nil {
		return s.lof.of(dist, row)
	}
	k := len(dist)
	switch s.reduce {
	case Mean:
		var sum float32
		for _, d := range dist {
			sum += d
		}
		return sum / float32(k)
	case Median:
		return (dist[(k-1)/2] + dist[k/2]) / 2
	default:
		return dist[k-1]
	}
}

func (l *LOF) of(dist []float32, row []int32) float32 {
	var reach float32
	for i, d := range dist {
		reach += max(d, l.KDist[row[i]])
	}
	k := float32(len(dist))
	own := 1 / (reach/k + l.Epsilon)
	var ratios float32
	for _, r := range row {
		ratios += l.LRD[r] / own
	}
	return ratios / k
}

func (s *Scorer) scratch() *Scratch {
	select {
	case x := <-s.pool:
		return x
	default:
		return s.index.Scratch()
	}
}

func (s *Scorer) release(x *Scratch) {
	select {
	case s.pool <- x:
	default:
	}
}
