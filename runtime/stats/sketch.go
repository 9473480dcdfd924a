package stats

import (
	"math"
	"sync/atomic"
)

// Sketch counts scores in the bins of a fixed grid, which is the same for all models
// and hosts: each power of 2 is divided into 128 bins, so that a bin is less than 1
// % wide. Only bins that are not empty are listed, in ascending order, by their
// upper edges.
type Sketch struct {
	Edges  []float64
	Counts []uint64
}

// Plus returns the sum of two sketches.
func (s Sketch) Plus(o Sketch) Sketch {
	var out Sketch
	for i, j := 0, 0; i < len(s.Edges) || j < len(o.Edges); {
		switch {
		case j == len(o.Edges) || i < len(s.Edges) && s.Edges[i] < o.Edges[j]:
			out.Edges, out.Counts = append(out.Edges, s.Edges[i]), append(out.Counts, s.Counts[i])
			i++
		case i == len(s.Edges) || o.Edges[j] < s.Edges[i]:
			out.Edges, out.Counts = append(out.Edges, o.Edges[j]), append(out.Counts, o.Counts[j])
			j++
		default:
			out.Edges, out.Counts = append(out.Edges, s.Edges[i]), append(out.Counts, s.Counts[i]+o.Counts[j])
			i, j = i+1, j+1
		}
	}
	return out
}

// The grid: numbers of a magnitude below 2^gridLow are in one bin around 0, and
// those of 2^gridHigh and above in the outermost ones.
const (
	gridBits  = 7
	gridCells = 1 << gridBits
	gridLow   = -128
	gridHigh  = 128
	octaves   = gridHigh - gridLow
)

// grid is a Sketch in which scores are counted. It allocates 1 KiB for each power of
// 2 that has scores.
type grid struct {
	zero atomic.Uint64
	of   [2 * octaves]atomic.Pointer[[gridCells]atomic.Uint64] // those of negative numbers first
}

// zeroBin is the bin around 0.
const zeroBin = 2 * octaves * gridCells

// binOf returns the bin of a finite score.
func binOf(v float64) int {
	const mantissa, bias = 52, 1023
	bits := math.Float64bits(v)
	bin := int(bits<<1>>1>>(mantissa-gridBits)) - (bias+gridLow)*gridCells
	if bin < 0 {
		return zeroBin
	}
	bin = min(bin, octaves*gridCells-1)
	if bits>>63 == 0 {
		bin += octaves * gridCells
	}
	return bin
}

// edgeOf returns the upper edge of a bin.
func edgeOf(bin int) float64 {
	magnitude := func(n int) float64 { // at which a bin of either sign begins
		return math.Ldexp(1+float64(n%gridCells)/gridCells, n/gridCells+gridLow)
	}
	const side = octaves * gridCells
	switch {
	case bin == zeroBin:
		return magnitude(0)
	case bin == 2*side-1: // the last bin has no upper edge
		return math.MaxFloat64
	case bin >= side:
		return magnitude(bin - side + 1)
	}
	return -magnitude(bin)
}

func (g *grid) add(bin int, n uint64) {
	if bin == zeroBin {
		g.zero.Add(n)
		return
	}
	at := &g.of[bin/gridCells]
	cells := at.Load()
	if cells == nil {
		at.CompareAndSwap(nil, new([gridCells]atomic.Uint64))
		cells = at.Load()
	}
	cells[bin%gridCells].Add(n)
}

func (g *grid) sketch() Sketch {
	var out Sketch
	list := func(bin int, n uint64) {
		if n > 0 {
			out.Edges, out.Counts = append(out.Edges, edgeOf(bin)), append(out.Counts, n)
		}
	}
	for octave := octaves - 1; octave >= 0; octave-- {
		if cells := g.of[octave].Load(); cells != nil {
			for i := gridCells - 1; i >= 0; i-- {
				list(octave*gridCells+i, cells[i].Load())
			}
		}
	}
	list(zeroBin, g.zero.Load())
	for octave := octaves; octave < 2*octaves; octave++ {
		if cells := g.of[octave].Load(); cells != nil {
			for i := range cells {
				list(octave*gridCells+i, cells[i].Load())
			}
		}
	}
	return out
}

// pile collects the counts of one call by bin, so that each bin of the grid is
// written once. If two bins share a place, the former one is written at once.
type pile [256]struct{ bin, n uint32 }

func (p *pile) add(g *grid, bin int) {
	at := &p[bin%len(p)]
	if at.n > 0 && at.bin != uint32(bin) {
		g.add(int(at.bin), uint64(at.n))
		at.n = 0
	}
	at.bin = uint32(bin)
	at.n++
}

func (p *pile) flush(g *grid) {
	for _, at := range p {
		if at.n > 0 {
			g.add(int(at.bin), uint64(at.n))
		}
	}
}
