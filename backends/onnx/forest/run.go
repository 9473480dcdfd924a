package forest

import "unsafe"

// walker is a layout of trees.
type walker[V float32 | float64] interface {
	row(row unsafe.Pointer, to []V)
	// some sets to to the values of a tree for the first rows, as many as are
	// walked side by side, and returns how many.
	some(tree int, rows unsafe.Pointer, size uintptr, to []V) int
}

func (c *complete) some(tree int, rows unsafe.Pointer, size uintptr, to []float32) int {
	c.walk8(tree, rows, size, to)
	return 8
}

func (l *linked[K, V]) some(tree int, rows unsafe.Pointer, size uintptr, to []V) int {
	l.walk4(tree, rows, size, to)
	return 4
}

// Run sets out to the values of the first len(out) rows of a block, which are
// float32 unless the forest is Double.
func (f *Forest) Run(b *Block, out []float64) {
	if len(out) == 0 {
		return
	}
	if len(out) > BlockRows {
		panic("forest: a block has fewer rows")
	}
	switch {
	case b.turned:
		f.bits.run(f, b, out)
	case f.complete != nil:
		run(f, walker[float32](f.complete), 8, unsafe.Pointer(&b.k32[0]), uintptr(b.width)*4, b.v32, out)
	case f.packed != nil:
		run(f, walker[float32](f.packed), 8, unsafe.Pointer(&b.k32[0]), uintptr(b.width)*4, b.v32, out)
	case f.singles != nil:
		run(f, walker[float32](f.singles), 4, unsafe.Pointer(&b.k32[0]), uintptr(b.width)*4, b.v32, out)
	default:
		run(f, walker[float64](f.doubles), 4, unsafe.Pointer(&b.k64[0]), uintptr(b.width)*8, b.v64, out)
	}
}

// run is Run for the rows of a block that are turned.
func (t *bitTrees) run(f *Forest, b *Block, out []float64) {
	acc := b.v32[:BlockRows]
	clear(acc)
	if len(t.tests) == 0 { // all trees are leaves
		for i := range t.parts {
			for r := range acc {
				acc[r] += t.leaves[i*partLeaves]
			}
		}
	} else {
		bitSums(&acc[0], &b.v32[BlockRows], &b.columnwise[0], &t.tests[0], &t.parts[0], &t.leaves[0], len(t.parts))
	}
	for r := range out {
		out[r] = finish(f, acc[r])
	}
}

func run[V float32 | float64](f *Forest, w walker[V], side int, keys unsafe.Pointer, size uintptr, values []V, out []float64) {
	whole := len(out) - len(out)%side
	acc, values := values[:BlockRows], values[BlockRows:]
	for t := 0; t < f.trees && whole > 0; t++ {
		for r := 0; r < whole; r += side {
			w.some(t, unsafe.Add(keys, uintptr(r)*size), size, values[r:r+side])
		}
		if t == 0 {
			copy(acc[:whole], values)
			if f.aggregate <= Average {
				for r := range acc[:whole] {
					acc[r] += 0 // a sum begins with +0
				}
			}
			continue
		}
		merge(f.aggregate, acc[:whole], values)
	}
	for r, v := range acc[:whole] {
		out[r] = finish(f, v)
	}
	for r := whole; r < len(out); r++ {
		w.row(unsafe.Add(keys, uintptr(r)*size), values)
		out[r] = finish(f, fold(f.aggregate, values[:f.trees]))
	}
}

func merge[V float32 | float64](a Aggregate, acc, values []V) {
	values = values[:len(acc)]
	switch a {
	case Min:
		for r, v := range values {
			if v < acc[r] {
				acc[r] = v
			}
		}
	case Max:
		for r, v := range values {
			if v > acc[r] {
				acc[r] = v
			}
		}
	default:
		for r, v := range values {
			acc[r] += v
		}
	}
}

// fold aggregates the values of all trees for one row.
func fold[V float32 | float64](a Aggregate, values []V) V {
	acc := values[0] + 0
	if a > Average {
		acc = values[0]
	}
	for _, v := range values[1:] {
		switch {
		case a <= Average:
			acc += v
		case (a == Min && v < acc) || (a == Max && v > acc):
			acc = v
		}
	}
	return acc
}

func finish[V float32 | float64](f *Forest, v V) float64 {
	if f.aggregate == Average {
		v /= V(f.trees)
	}
	return float64(v + V(f.base))
}
