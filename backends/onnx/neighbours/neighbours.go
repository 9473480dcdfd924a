// Package neighbours finds the training rows that are nearest to rows, for local
// outlier factors and distances to the k nearest rows.
//
// Distances are computed directly, feature by feature. The form |x|² + |y|² − 2xy
// is faster for matrices but loses the small distances of data far from the
// origin. The package knows no ONNX; package onnx recognises the graphs.
package neighbours

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Metric is a distance between rows.
type Metric int

// The metrics.
const (
	Euclidean Metric = iota
	Manhattan
	Minkowski // of order P
	Cosine    // 1 − x·y / (|x| |y|)
)

// String returns the metric's name in scikit-learn.
func (m Metric) String() string {
	if m < Euclidean || m > Cosine {
		return fmt.Sprintf("metric %d", int(m))
	}
	return [...]string{"euclidean", "manhattan", "minkowski", "cosine"}[m]
}

// Limits of an index.
const (
	MaxFeatures   = 1 << 16
	MaxNeighbours = 1 << 12
)

// Params describe an index.
type Params struct {
	Train    []float32 // rows x features, row-major; the index keeps a copy
	Features int
	K        int // how many rows are looked for
	Metric   Metric
	P        float64 // order of Minkowski, at least 1
}

// Index finds the nearest of its training rows. It is safe for concurrent use.
type Index struct {
	n, d, k int
	metric  Metric
	p       float64
	train   []float32 // blocks of lanes rows; within a block feature by feature
	norms   []float32 // of Cosine: the length of each training row
	chunk   int       // blocks that are compared with several rows while they are in the cache
	plain   bool      // does without assembly
}

// lanes is how many training rows a block has.
const lanes = 32

// chunkBytes is the size of the training rows that stay in the fastest cache.
const chunkBytes = 24 << 10

// New makes an index.
func New(p Params) (*Index, error) {
	switch {
	case p.Features < 1 || p.Features > MaxFeatures:
		return nil, fmt.Errorf("%d features; 1 to %d are supported", p.Features, MaxFeatures)
	case len(p.Train) == 0 || len(p.Train)%p.Features != 0:
		return nil, fmt.Errorf("%d numbers are no rows of %d features", len(p.Train), p.Features)
	case len(p.Train)/p.Features > math.MaxInt32-lanes:
		return nil, errors.New("too many training rows")
	case p.K < 1 || p.K > MaxNeighbours || p.K > len(p.Train)/p.Features:
		return nil, fmt.Errorf("%d neighbours of %d training rows; 1 to %d are supported", p.K, len(p.Train)/p.Features, MaxNeighbours)
	case p.Metric < Euclidean || p.Metric > Cosine:
		return nil, fmt.Errorf("unknown %v", p.Metric)
	case p.Metric == Minkowski && !(p.P >= 1 && p.P < math.Inf(1)):
		return nil, fmt.Errorf("minkowski distances of order %v; orders from 1 on are supported", p.P)
	}
	x := &Index{n: len(p.Train) / p.Features, d: p.Features, k: p.K, metric: p.Metric, p: p.P}
	for i := range x.n {
		if !x.measurable(p.Train[i*x.d : (i+1)*x.d]) {
			return nil, fmt.Errorf("training row %d has no %v distances", i, x.metric)
		}
	}
	x.chunk = max(1, chunkBytes/(lanes*4*x.d))
	x.lay(p.Train)
	return x, nil
}

// lay copies the training rows into blocks. The last block is filled with its
// last row; search never looks at the copies.
func (x *Index) lay(rows []float32) {
	x.train = make([]float32, x.blocks()*lanes*x.d)
	for i := range x.blocks() * lanes {
		row := rows[min(i, x.n-1)*x.d:][:x.d]
		for j, v := range row {
			x.train[(i/lanes*x.d+j)*lanes+i%lanes] = v
		}
	}
	if x.metric != Cosine {
		return
	}
	x.norms = make([]float32, x.blocks()*lanes)
	for i := range x.norms {
		x.norms[i] = norm(rows[min(i, x.n-1)*x.d:][:x.d])
	}
}

func (x *Index) blocks() int { return (x.n + lanes - 1) / lanes }

// Rows returns the number of training rows.
func (x *Index) Rows() int { return x.n }

// Features returns the number of features of a row.
func (x *Index) Features() int { return x.d }

// K returns how many neighbours are found.
func (x *Index) K() int { return x.k }

// Metric returns the metric.
func (x *Index) Metric() Metric { return x.metric }

// Bytes returns the memory of the index.
func (x *Index) Bytes() int64 { return 4 * int64(len(x.train)+len(x.norms)) }

// Cost estimates from above how long the neighbours of a row take. At worst each
// training row is nearer than those before, and is put before all that were found.
func (x *Index) Cost() time.Duration {
	const vector, plain, power = 0.4, 4, 80 // ns for a feature of a training row
	const take, move, copied = 10, 3.5, 0.1 // ns for a training row, and for each that was found
	each := float64(plain)
	switch {
	case x.metric == Minkowski:
		each = power
	case x.metric != Cosine && x.fast():
		each = vector
	}
	taken := take + move*float64(min(x.k, few)) + copied*float64(x.k)
	return time.Duration(float64(x.n) * (float64(x.d)*each + taken))
}

func norm(row []float32) float32 {
	var s float32
	for _, v := range row {
		s += float32(v * v)
	}
	return float32(math.Sqrt(float64(s)))
}
