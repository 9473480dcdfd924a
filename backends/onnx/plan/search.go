package plan

import (
	"math"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/neighbours"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// looking is what a search needs for a call.
type looking struct {
	scratch *neighbours.Scratch
	rows    []float32 // of a block, row after row; nil: the search reads the rows themselves
}

func (f *search) looking() looking {
	l := looking{scratch: f.index.Scratch()}
	if !f.direct {
		l.rows = make([]float32, lanes*f.index.Features())
	}
	return l
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
	out := &search{index: f.index, direct: f.direct}
	for to, from := range map[*[]int][]int{&out.columns: f.columns, &out.dist: f.dist, &out.rows: f.rows} {
		for _, old := range from {
			*to = append(*to, at[old])
		}
	}
	return out
}

// run looks for the nearest of a block of rows.
func (f *search) run(l looking, registers [][]float64, in *sdk.Batch, from, to int) {
	d := f.index.Features()
	rows := l.rows
	if f.direct && in.Dense() == sdk.Float32 {
		rows = in.Float32s()[from*d : to*d]
	} else {
		for j, register := range f.columns {
			for i, v := range registers[register][:to-from] {
				rows[i*d+j] = float32(v)
			}
		}
	}
	for first := 0; first < to-from; first += neighbours.Tile {
		n := min(neighbours.Tile, to-from-first)
		f.index.Nearest(rows[first*d:(first+n)*d], l.scratch)
		for i := range n {
			dist, row := l.scratch.Of(i)
			f.write(registers, first+i, dist, row)
		}
	}
}

// write writes the results of a row. A row without distances has NaN, and the first
// training rows in place of the nearest.
func (f *search) write(registers [][]float64, i int, dist []float32, row []int32) {
	for k := range f.dist {
		if len(dist) == 0 {
			registers[f.dist[k]][i], registers[f.rows[k]][i] = math.NaN(), float64(k)
			continue
		}
		registers[f.dist[k]][i], registers[f.rows[k]][i] = float64(dist[k]), float64(row[k])
	}
}
