package forest

import (
	"cmp"
	"math"
	"slices"
	"unsafe"
)

// packed holds trees of float32 of any depth, with 8 bytes a node: in the upper half the
// threshold's key, below it the byte offset of the column and the distance to the children,
// which stand side by side behind their parent. A leaf has the distance 0 and the highest threshold, so that
// a walk that goes on stays there.
//
// Invariants that make the walks safe without checks of bounds: a node at its distance,
// and the one behind that, are nodes of the same tree; leaves stay at themselves; and each
// column is one of a block.
type packed struct {
	nodes []uint64
	leaf  []float32 // by node
	roots []uint32
	depth []int
	order []int // trees by depth, so that trees that are walked side by side end together
}

// pack returns the trees, or nil if one has too many nodes or columns for distances of 16
// bits.
func (b *builder) pack() *packed {
	if 8*b.columns > math.MaxUint16 {
		return nil
	}
	p := &packed{}
	for t, tree := range b.trees {
		if 2*(tree.end-tree.begin) >= math.MaxUint16 {
			return nil
		}
		root := len(p.nodes)
		p.roots, p.depth, p.order = append(p.roots, uint32(root)), append(p.depth, tree.depth), append(p.order, t)
		p.place(b, tree.root, root, tree)
		for s := tree.end - 1; s >= tree.begin; s-- {
			p.place(b, b.all[s].left, root, tree)
			p.place(b, b.all[s].right, root, tree)
		}
	}
	slices.SortStableFunc(p.order, func(x, y int) int { return cmp.Compare(p.depth[x], p.depth[y]) })
	return p
}

// place adds a node. The children of a split follow those of the splits behind it among
// the tree's: a split's parents are behind it.
func (p *packed) place(b *builder, ref int32, root int, tree built) {
	if ref < 0 {
		p.nodes, p.leaf = append(p.nodes, uint64(math.MaxInt32)<<32), append(p.leaf, float32(b.value(ref)))
		return
	}
	s := &b.all[ref]
	children := root + 1 + 2*(tree.end-1-int(ref))
	p.nodes = append(p.nodes, uint64(uint32(s.thr))<<32|uint64(s.column)*4<<16|uint64(children-len(p.nodes)))
	p.leaf = append(p.leaf, 0)
}

func packedStep(nodes, row unsafe.Pointer, i uint64) uint64 {
	n := *(*uint64)(unsafe.Add(nodes, i*8))
	key := *(*int32)(unsafe.Add(row, uint64(uint32(n)>>16)))
	i += uint64(uint16(n))
	return i + uint64(int64(n)>>32-int64(key))>>63
}

// some sets to[:8] to the values of a tree for 8 rows.
func (p *packed) some(tree int, rows unsafe.Pointer, size uintptr, to []float32) int {
	nodes, root := unsafe.Pointer(&p.nodes[0]), uint64(p.roots[tree])
	i0, i1, i2, i3, i4, i5, i6, i7 := root, root, root, root, root, root, root, root
	for left := p.depth[tree]; left > 0; left -= pace {
		sum := i0 + i1 + i2 + i3 + i4 + i5 + i6 + i7
		for range min(pace, left) {
			i0 = packedStep(nodes, rows, i0)
			i1 = packedStep(nodes, unsafe.Add(rows, size), i1)
			i2 = packedStep(nodes, unsafe.Add(rows, 2*size), i2)
			i3 = packedStep(nodes, unsafe.Add(rows, 3*size), i3)
			i4 = packedStep(nodes, unsafe.Add(rows, 4*size), i4)
			i5 = packedStep(nodes, unsafe.Add(rows, 5*size), i5)
			i6 = packedStep(nodes, unsafe.Add(rows, 6*size), i6)
			i7 = packedStep(nodes, unsafe.Add(rows, 7*size), i7)
		}
		if i0+i1+i2+i3+i4+i5+i6+i7 == sum { // walks only go forwards
			break
		}
	}
	_ = to[7]
	to[0], to[1], to[2], to[3] = p.leaf[i0], p.leaf[i1], p.leaf[i2], p.leaf[i3]
	to[4], to[5], to[6], to[7] = p.leaf[i4], p.leaf[i5], p.leaf[i6], p.leaf[i7]
	return 8
}

// row sets to to the values of all trees for one row.
func (p *packed) row(row unsafe.Pointer, to []float32) {
	nodes := unsafe.Pointer(&p.nodes[0])
	o := p.order
	for ; len(o) >= 8; o = o[8:] {
		i0, i1, i2, i3 := uint64(p.roots[o[0]]), uint64(p.roots[o[1]]), uint64(p.roots[o[2]]), uint64(p.roots[o[3]])
		i4, i5, i6, i7 := uint64(p.roots[o[4]]), uint64(p.roots[o[5]]), uint64(p.roots[o[6]]), uint64(p.roots[o[7]])
		for left := p.depth[o[7]]; left > 0; left -= pace {
			sum := i0 + i1 + i2 + i3 + i4 + i5 + i6 + i7
			for range min(pace, left) {
				i0 = packedStep(nodes, row, i0)
				i1 = packedStep(nodes, row, i1)
				i2 = packedStep(nodes, row, i2)
				i3 = packedStep(nodes, row, i3)
				i4 = packedStep(nodes, row, i4)
				i5 = packedStep(nodes, row, i5)
				i6 = packedStep(nodes, row, i6)
				i7 = packedStep(nodes, row, i7)
			}
			if i0+i1+i2+i3+i4+i5+i6+i7 == sum {
				break
			}
		}
		to[o[0]], to[o[1]], to[o[2]], to[o[3]] = p.leaf[i0], p.leaf[i1], p.leaf[i2], p.leaf[i3]
		to[o[4]], to[o[5]], to[o[6]], to[o[7]] = p.leaf[i4], p.leaf[i5], p.leaf[i6], p.leaf[i7]
	}
	for _, t := range o {
		i := uint64(p.roots[t])
		for range p.depth[t] {
			i = packedStep(nodes, row, i)
		}
		to[t] = p.leaf[i]
	}
}
