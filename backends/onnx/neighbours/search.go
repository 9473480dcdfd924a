package neighbours

import (
	"math"
	"math/bits"
	"slices"
	"sort"
)

// Tile is how many rows are compared with the same chunk of training rows.
const Tile = 16

// Scratch is the memory of one call. Its size does not depend on the number of
// rows of the call or of the training.
type Scratch[T Number] struct {
	squares []T      // of one row and one chunk, before root
	near    []uint32 // which rows of a block may be among the nearest
	found   [Tile]nearest[T]
}

// Scratch returns memory for calls that do not run at the same time.
func (x *Index[T]) Scratch() *Scratch[T] {
	s := &Scratch[T]{squares: make([]T, x.chunk*lanes), near: make([]uint32, x.chunk)}
	for i := range s.found {
		s.found[i] = nearest[T]{dist: make([]T, 0, x.k), row: make([]int32, 0, x.k)}
	}
	return s
}

// nearest holds the nearest training rows found so far, nearest first. Of equal
// distances the lower row comes first, as in ONNX's TopK.
type nearest[T Number] struct {
	dist   []T
	row    []int32
	square T    // no square of a nearer row exceeds it; +Inf until there are k
	odd    bool // the row has no distances
}

// Nearest finds the neighbours of rows, which holds at most Tile rows of the
// index's features. The results are valid until the next call with s: for row i,
// s.Of(i).
func (x *Index[T]) Nearest(rows []T, s *Scratch[T]) {
	n := len(rows) / x.d
	for i := range n {
		f := &s.found[i]
		f.dist, f.row, f.square = f.dist[:0], f.row[:0], T(math.Inf(1))
		f.odd = slices.ContainsFunc(rows[i*x.d:(i+1)*x.d], func(v T) bool { return math.IsNaN(float64(v)) })
	}
	for from := 0; from < x.blocks(); from += x.chunk {
		count := min(x.chunk, x.blocks()-from)
		for i := range n {
			row := rows[i*x.d : (i+1)*x.d]
			if s.found[i].odd {
				continue
			}
			x.compare(s, row, from, count, s.found[i].square)
			x.pick(&s.found[i], s, from, count)
		}
	}
}

// Of returns the distances of row i to its nearest training rows and their
// numbers, nearest first. Both are empty if the row has no distances: NaN is among its
// features. An infinite feature is infinitely far from all training rows.
func (s *Scratch[T]) Of(i int) (distances []T, rows []int32) {
	return s.found[i].dist, s.found[i].row
}

// pick takes the near rows of a chunk.
func (x *Index[T]) pick(f *nearest[T], s *Scratch[T], from, count int) {
	b := 0
	for ; b < count && len(f.dist) < x.k; b++ {
		first := (from + b) * lanes
		for i := range min(lanes, x.n-first) {
			x.take(f, s.squares[b*lanes+i], x.number[first+i])
		}
	}
	for ; b < count; b++ {
		first := (from + b) * lanes
		for near := s.near[b]; near != 0; near &= near - 1 {
			i := bits.TrailingZeros32(near)
			if square := s.squares[b*lanes+i]; square <= f.square && first+i < x.n {
				x.take(f, square, x.number[first+i])
			}
		}
	}
}

// few is up to how many kept rows moving one at a time is faster.
const few = 64

// take keeps a row if it is among the k nearest.
func (x *Index[T]) take(f *nearest[T], square T, row int32) {
	// Distances are compared and not squares: two squares may have one root.
	d := x.root(square)
	k := len(f.dist)
	if k == x.k {
		if !f.after(k-1, d, row) {
			return
		}
		k--
	}
	f.dist, f.row = f.dist[:k+1], f.row[:k+1]
	at := k
	if k > few {
		at = sort.Search(k, func(i int) bool { return f.after(i, d, row) })
		copy(f.dist[at+1:], f.dist[at:])
		copy(f.row[at+1:], f.row[at:])
	} else {
		for ; at > 0 && f.after(at-1, d, row); at-- {
			f.dist[at], f.row[at] = f.dist[at-1], f.row[at-1]
		}
	}
	f.dist[at], f.row[at] = d, row
	if len(f.dist) == x.k {
		f.square = x.bound(f.dist[x.k-1])
	}
}

// after reports whether kept row i comes after a row.
func (f *nearest[T]) after(i int, dist T, row int32) bool {
	return f.dist[i] > dist || (f.dist[i] == dist && f.row[i] > row)
}

// root turns what compare computes into a distance.
func (x *Index[T]) root(square T) T {
	switch x.metric {
	case Euclidean:
		return T(math.Sqrt(float64(square)))
	case Minkowski:
		return T(math.Pow(float64(square), 1/x.p))
	default:
		return square
	}
}

// bound returns a number that no square of a nearer row exceeds.
func (x *Index[T]) bound(dist T) T {
	if math.IsInf(float64(dist), 1) {
		return dist
	}
	const above = 1e-5 // more than the roundings of root
	switch x.metric {
	case Euclidean:
		return T(float64(dist) * float64(dist) * (1 + above))
	case Minkowski:
		return T(math.Pow(float64(dist), x.p) * (1 + above*x.p))
	default:
		return dist
	}
}
