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
	"math/rand/v2"
	"time"
	"unsafe"
)

// Metric is a distance between rows.
type Metric int

// The metrics.
const (
	Euclidean Metric = iota
	Manhattan
	Minkowski // of order P
)

// Number is the type of the features. Distances are computed in it.
type Number interface{ float32 | float64 }

// String returns the metric's name in scikit-learn.
func (m Metric) String() string {
	if m < Euclidean || m > Minkowski {
		return fmt.Sprintf("metric %d", int(m))
	}
	return [...]string{"euclidean", "manhattan", "minkowski"}[m]
}

// Limits of an index.
const (
	MaxFeatures   = 1 << 16
	MaxNeighbours = 1 << 12
)

// Params describe an index.
type Params[T Number] struct {
	Train    []T // rows x features, row-major; the index keeps a copy
	Features int
	K        int // how many rows are looked for
	Metric   Metric
	P        float64 // order of Minkowski, at least 1
}

// Index finds the nearest of its training rows. It is safe for concurrent use.
type Index[T Number] struct {
	n, d, k int
	metric  Metric
	p       float64
	train   []T     // blocks of lanes rows; within a block feature by feature
	number  []int32 // of the training rows, by their places in the blocks
	chunk   int     // blocks that are compared with several rows while they are in the cache
	vectors blocks[T]
}

// blocks writes for n blocks of 32 training rows with d features the sums of what the
// differences to row contribute, and for each block a bit per training row whose sum is
// not above limit. It is assembly; nil: there is none for the metric, or the processor.
type blocks[T Number] func(to *T, near *uint32, row, train *T, d, n int, limit T)

// lanes is how many training rows a block has.
const lanes = 32

// chunkBytes is the size of the training rows that stay in the fastest cache.
const chunkBytes = 24 << 10

// New makes an index.
func New[T Number](p Params[T]) (*Index[T], error) {
	switch {
	case p.Features < 1 || p.Features > MaxFeatures:
		return nil, fmt.Errorf("%d features; 1 to %d are supported", p.Features, MaxFeatures)
	case len(p.Train) == 0 || len(p.Train)%p.Features != 0:
		return nil, fmt.Errorf("%d numbers are no rows of %d features", len(p.Train), p.Features)
	case len(p.Train)/p.Features > math.MaxInt32-lanes:
		return nil, errors.New("too many training rows")
	case p.K < 1 || p.K > MaxNeighbours || p.K > len(p.Train)/p.Features:
		return nil, fmt.Errorf("%d neighbours of %d training rows; 1 to %d are supported", p.K, len(p.Train)/p.Features, MaxNeighbours)
	case p.Metric < Euclidean || p.Metric > Minkowski:
		return nil, fmt.Errorf("unknown %v", p.Metric)
	case p.Metric == Minkowski && !(p.P >= 1 && p.P < math.Inf(1)):
		return nil, fmt.Errorf("minkowski distances of order %v; orders from 1 on are supported", p.P)
	}
	for i, v := range p.Train {
		if d := float64(v); math.IsNaN(d) || math.IsInf(d, 0) {
			return nil, fmt.Errorf("training row %d has no %v distances", i/p.Features, p.Metric)
		}
	}
	x := &Index[T]{n: len(p.Train) / p.Features, d: p.Features, k: p.K, metric: p.Metric, p: p.P, vectors: vectors[T](p.Metric)}
	x.chunk = max(1, chunkBytes/(lanes*x.size()*x.d))
	x.lay(p.Train)
	return x, nil
}

// size returns the bytes of a number.
func (x *Index[T]) size() int {
	var v T
	return int(unsafe.Sizeof(v))
}

// lay copies the training rows into blocks, in a fixed order that is as good as drawn:
// files are often sorted, and of rows that come nearer one by one each would be kept for
// a while. The last block is filled with its last row; search never looks at the copies.
func (x *Index[T]) lay(rows []T) {
	x.number = make([]int32, x.n)
	for i, number := range rand.New(rand.NewPCG(1, 2)).Perm(x.n) {
		x.number[i] = int32(number)
	}
	x.train = make([]T, x.blocks()*lanes*x.d)
	for i := range x.blocks() * lanes {
		row := rows[int(x.number[min(i, x.n-1)])*x.d:][:x.d]
		for j, v := range row {
			x.train[(i/lanes*x.d+j)*lanes+i%lanes] = v
		}
	}
}

func (x *Index[T]) blocks() int { return (x.n + lanes - 1) / lanes }

// Rows returns the number of training rows.
func (x *Index[T]) Rows() int { return x.n }

// Features returns the number of features of a row.
func (x *Index[T]) Features() int { return x.d }

// K returns how many neighbours are found.
func (x *Index[T]) K() int { return x.k }

// Metric returns the metric.
func (x *Index[T]) Metric() Metric { return x.metric }

// Bytes returns the memory of the index.
func (x *Index[T]) Bytes() int64 { return int64(x.size())*int64(len(x.train)) + 4*int64(len(x.number)) }

// Cost estimates from above how long the neighbours of a row take. Since the order of
// the training rows is drawn, row i is among the k nearest so far with probability k/i:
// about k (1 + ln(n/k)) rows are kept for a while, with a variance of less than that.
func (x *Index[T]) Cost() time.Duration {
	const vector, plain, square, power = 0.1, 4, 1.2, 80 // ns for a byte of a training row, and for a feature
	const look, take, move, copied = 1, 20, 3.5, 0.1
	each := float64(plain)
	switch {
	case x.metric == Minkowski:
		each = power
	case x.vectors != nil:
		each = vector * float64(x.size())
	case x.metric == Euclidean:
		each = square
	}
	n, k := float64(x.n), float64(x.k)
	kept := k * (1 + math.Log(n/k))
	kept = min(n, kept+6*math.Sqrt(kept))
	return time.Duration(n*(float64(x.d)*each+look) + kept*(take+move*min(k, few)+copied*k))
}
