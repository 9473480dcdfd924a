package forest

import (
	"math"
	"unsafe"
)

// link holds trees of any depth. The children of a node stand side by side. A
// leaf is its own left child, and no key is above its threshold, so that a walk
// that goes on stays there.
//
// Invariants that make the walks safe without checks of bounds: left and left+1
// are nodes, leaves stay at themselves, and each column is one of a block.
type linked[K int32 | int64, V float32 | float64] struct {
	nodes []linkNode[K]
	leaf  []V // by node
	roots []uint32
	depth []int
}

type linkNode[K int32 | int64] struct {
	thr    K
	column uint32
	left   uint32
}

func link[K int32 | int64, V float32 | float64](b *builder) *linked[K, V] {
	total := len(b.trees) + 2*len(b.all)
	l := &linked[K, V]{nodes: make([]linkNode[K], total), leaf: make([]V, total)}
	highest := K(math.MaxInt32)
	if b.double {
		wide := int64(math.MaxInt64)
		highest = K(wide)
	}
	pairs := len(b.trees) // where the children of splits begin
	place := func(at int, ref int32) {
		if ref < 0 {
			l.nodes[at] = linkNode[K]{thr: highest, left: uint32(at)}
			l.leaf[at] = V(b.value(ref))
			return
		}
		s := &b.all[ref]
		l.nodes[at] = linkNode[K]{thr: K(s.thr), column: uint32(s.column), left: uint32(pairs + 2*int(ref))}
	}
	for t, tree := range b.trees {
		place(t, tree.root)
		l.roots, l.depth = append(l.roots, uint32(t)), append(l.depth, tree.depth)
	}
	for i, s := range b.all {
		place(pairs+2*i, s.left)
		place(pairs+2*i+1, s.right)
	}
	return l
}

// pace is how many steps a walk takes before it looks whether all have arrived.
const pace = 4

func linkStep[K int32 | int64](nodes, row unsafe.Pointer, i uint32) uint32 {
	n := (*linkNode[K])(unsafe.Add(nodes, uintptr(i)*unsafe.Sizeof(linkNode[K]{})))
	key := *(*K)(unsafe.Add(row, uintptr(n.column)*unsafe.Sizeof(K(0))))
	above := uint32(0)
	if key > n.thr {
		above = 1
	}
	return n.left + above
}

// walk4 sets to[:4] to the values of a tree for 4 rows.
func (l *linked[K, V]) walk4(tree int, rows unsafe.Pointer, size uintptr, to []V) {
	nodes, root := unsafe.Pointer(&l.nodes[0]), l.roots[tree]
	i0, i1, i2, i3 := root, root, root, root
	for left := l.depth[tree]; left > 0; left -= pace {
		p0, p1, p2, p3 := i0, i1, i2, i3
		for range min(pace, left) {
			i0 = linkStep[K](nodes, rows, i0)
			i1 = linkStep[K](nodes, unsafe.Add(rows, size), i1)
			i2 = linkStep[K](nodes, unsafe.Add(rows, 2*size), i2)
			i3 = linkStep[K](nodes, unsafe.Add(rows, 3*size), i3)
		}
		if i0 == p0 && i1 == p1 && i2 == p2 && i3 == p3 {
			break
		}
	}
	to[0], to[1], to[2], to[3] = l.leaf[i0], l.leaf[i1], l.leaf[i2], l.leaf[i3]
}

// row sets to to the values of all trees for one row.
func (l *linked[K, V]) row(row unsafe.Pointer, to []V) {
	nodes := unsafe.Pointer(&l.nodes[0])
	t := 0
	for ; t+4 <= len(l.roots); t += 4 {
		i0, i1, i2, i3 := l.roots[t], l.roots[t+1], l.roots[t+2], l.roots[t+3]
		for left := max(l.depth[t], l.depth[t+1], l.depth[t+2], l.depth[t+3]); left > 0; left -= pace {
			p0, p1, p2, p3 := i0, i1, i2, i3
			for range min(pace, left) {
				i0, i1 = linkStep[K](nodes, row, i0), linkStep[K](nodes, row, i1)
				i2, i3 = linkStep[K](nodes, row, i2), linkStep[K](nodes, row, i3)
			}
			if i0 == p0 && i1 == p1 && i2 == p2 && i3 == p3 {
				break
			}
		}
		to[t], to[t+1], to[t+2], to[t+3] = l.leaf[i0], l.leaf[i1], l.leaf[i2], l.leaf[i3]
	}
	for ; t < len(l.roots); t++ {
		i := l.roots[t]
		for range l.depth[t] {
			i = linkStep[K](nodes, row, i)
		}
		to[t] = l.leaf[i]
	}
}
