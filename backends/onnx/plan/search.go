package plan

import (
	"math"
	"slices"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/neighbours"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// search finds the nearest training rows of a row.
type search struct {
	index   index
	looking func() looking
	columns []int // registers of the row's features
	direct  bool  // the columns are the features of a matrix of the index's type, in order
	dist    []int // registers of the distances, nearest first
	rows    []int // registers of the training rows' numbers
}

// index is a neighbours.Index of either type of numbers.
type index interface {
	Rows() int
	Features() int
	K() int
	Bytes() int64
	Cost() time.Duration
}

// looking is what a search needs for a call.
type looking interface {
	// run looks for the nearest of a block of rows.
	run(f *search, registers [][]float64, in *sdk.Batch, from, to int)
}

// newSearch makes the search for the k nearest of a scan's training rows.
func newSearch(c *scan, k int) (*search, error) {
	if c.elem == graph.Double {
		return searchOf(neighbours.Params[float64]{Train: c.train, Features: c.features, K: k, Metric: c.metric, P: c.order}, (*sdk.Batch).Float64s, sdk.Float64)
	}
	train := make([]float32, len(c.train))
	for i, v := range c.train {
		train[i] = float32(v)
	}
	return searchOf(neighbours.Params[float32]{Train: train, Features: c.features, K: k, Metric: c.metric, P: c.order}, (*sdk.Batch).Float32s, sdk.Float32)
}

func searchOf[T neighbours.Number](p neighbours.Params[T], matrix func(*sdk.Batch) []T, of sdk.DType) (*search, error) {
	x, err := neighbours.New(p)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says what is not searched
	}
	look := func() looking { return &look[T]{index: x, scratch: x.Scratch(), matrix: matrix, of: of} }
	return &search{index: x, looking: look}, nil
}

// look searches an index.
type look[T neighbours.Number] struct {
	index   *neighbours.Index[T]
	scratch *neighbours.Scratch[T]
	matrix  func(*sdk.Batch) []T // of a batch of the type
	of      sdk.DType
	rows    []T // of a block, row after row, if they are not read directly
}

// keep keeps all results and what they need, if one of the results is live.
func (f *search) keep(live []bool) {
	results := slices.Concat(f.dist, f.rows)
	if !slices.ContainsFunc(results, func(at int) bool { return live[at] }) {
		return
	}
	for _, at := range slices.Concat(results, f.columns) {
		live[at] = true
	}
}

// move returns the search over other registers.
func (f *search) move(at []int) *search {
	out := &search{index: f.index, looking: f.looking, direct: f.direct}
	for to, from := range map[*[]int][]int{&out.columns: f.columns, &out.dist: f.dist, &out.rows: f.rows} {
		for _, old := range from {
			*to = append(*to, at[old])
		}
	}
	return out
}

func (l *look[T]) run(f *search, registers [][]float64, in *sdk.Batch, from, to int) {
	d := l.index.Features()
	var rows []T
	if f.direct && in.Dense() == l.of {
		rows = l.matrix(in)[from*d : to*d]
	} else {
		if l.rows == nil {
			l.rows = make([]T, lanes*d)
		}
		rows = l.rows
		for j, register := range f.columns {
			for i, v := range registers[register][:to-from] {
				rows[i*d+j] = T(v)
			}
		}
	}
	for first := 0; first < to-from; first += neighbours.Tile {
		n := min(neighbours.Tile, to-from-first)
		l.index.Nearest(rows[first*d:(first+n)*d], l.scratch)
		for i := range n {
			l.write(f, registers, i, first+i)
		}
	}
}

// write writes the results of row i of a tile, which is row to of the block. A row
// without distances has NaN, and the first training rows in place of the nearest.
func (l *look[T]) write(f *search, registers [][]float64, i, to int) {
	dist, row := l.scratch.Of(i)
	for k := range f.dist {
		if len(dist) == 0 {
			registers[f.dist[k]][to], registers[f.rows[k]][to] = math.NaN(), float64(k)
			continue
		}
		registers[f.dist[k]][to], registers[f.rows[k]][to] = float64(dist[k]), float64(row[k])
	}
}
