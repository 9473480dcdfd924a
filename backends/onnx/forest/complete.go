package forest

import "unsafe"

// mostComplete is the depth up to which trees may be padded.
const mostComplete = 10

// complete holds trees of one depth. The children of node i of a tree are 2i+1
// and 2i+2. A node is its threshold's key in the upper half and the byte offset
// of its column in the lower.
//
// Invariants that make the walks safe without checks of bounds: each tree has
// 1<<depth nodes (the last one is not used) and as many leaves, a walk takes
// depth steps, and each offset is that of a column of a block.
type complete struct {
	depth  int
	trees  int
	nodes  []uint64
	leaves []float32
}

func (b *builder) pad() *complete {
	d := b.depth()
	c := &complete{depth: d, trees: len(b.trees), nodes: make([]uint64, len(b.trees)<<d), leaves: make([]float32, len(b.trees)<<d)}
	for t, tree := range b.trees {
		nodes, leaves := c.nodes[t<<d:(t+1)<<d], c.leaves[t<<d:(t+1)<<d]
		var fill func(at, level int, ref int32)
		fill = func(at, level int, ref int32) {
			if level == d {
				leaves[at-(1<<d-1)] = float32(b.value(ref))
				return
			}
			left, right := ref, ref // a leaf above the last level: both ways lead to it
			if ref >= 0 {
				s := &b.all[ref]
				left, right = s.left, s.right
				nodes[at] = uint64(uint32(s.thr))<<32 | uint64(s.column)*4
			}
			fill(2*at+1, level+1, left)
			fill(2*at+2, level+1, right)
		}
		fill(0, 0, tree.root)
	}
	return c
}

// step returns the child of node i: the second one if the row's key is above
// the node's.
func step(nodes, row unsafe.Pointer, i uint64) uint64 {
	n := *(*uint64)(unsafe.Add(nodes, i*8))
	key := *(*int32)(unsafe.Add(row, uint32(n)))
	return 2*i + 1 + uint64(int64(int32(n>>32))-int64(key))>>63
}

// walk8 sets to[:8] to the values of a tree for 8 rows.
func (c *complete) walk8(tree int, rows unsafe.Pointer, size uintptr, to []float32) {
	nodes, leaves := unsafe.Pointer(&c.nodes[tree<<c.depth]), c.leaves[tree<<c.depth:(tree+1)<<c.depth]
	var i0, i1, i2, i3, i4, i5, i6, i7 uint64
	for range c.depth {
		i0 = step(nodes, rows, i0)
		i1 = step(nodes, unsafe.Add(rows, size), i1)
		i2 = step(nodes, unsafe.Add(rows, 2*size), i2)
		i3 = step(nodes, unsafe.Add(rows, 3*size), i3)
		i4 = step(nodes, unsafe.Add(rows, 4*size), i4)
		i5 = step(nodes, unsafe.Add(rows, 5*size), i5)
		i6 = step(nodes, unsafe.Add(rows, 6*size), i6)
		i7 = step(nodes, unsafe.Add(rows, 7*size), i7)
	}
	first := uint64(1)<<c.depth - 1
	_ = to[7]
	to[0], to[1], to[2], to[3] = leaves[i0-first], leaves[i1-first], leaves[i2-first], leaves[i3-first]
	to[4], to[5], to[6], to[7] = leaves[i4-first], leaves[i5-first], leaves[i6-first], leaves[i7-first]
}

// row sets to to the values of all trees for one row.
func (c *complete) row(row unsafe.Pointer, to []float32) {
	first, full := uint64(1)<<c.depth-1, 1<<c.depth
	t := 0
	for ; t+4 <= c.trees; t += 4 {
		n0 := unsafe.Pointer(&c.nodes[t*full])
		n1, n2, n3 := unsafe.Add(n0, 8*full), unsafe.Add(n0, 16*full), unsafe.Add(n0, 24*full)
		var i0, i1, i2, i3 uint64
		for range c.depth {
			i0, i1, i2, i3 = step(n0, row, i0), step(n1, row, i1), step(n2, row, i2), step(n3, row, i3)
		}
		l := c.leaves[t*full : (t+4)*full]
		to[t], to[t+1] = l[i0-first], l[i1-first+uint64(full)]
		to[t+2], to[t+3] = l[i2-first+2*uint64(full)], l[i3-first+3*uint64(full)]
	}
	for ; t < c.trees; t++ {
		nodes := unsafe.Pointer(&c.nodes[t*full])
		var i uint64
		for range c.depth {
			i = step(nodes, row, i)
		}
		to[t] = c.leaves[t*full : (t+1)*full][i-first]
	}
}
