package forest

// mostExits is the number of leaves up to which a tree is evaluated by its bits.
const mostExits = 32

// bitTest is a split of a tree that is evaluated by its bits. A row whose key is below
// limit goes left; any other row cannot reach the leaves left of the split, whose bits are
// not in keep.
type bitTest struct {
	limit  int32
	keep   uint32
	column uint32 // byte offset of the column in the turned keys of a block
}

// bitTrees evaluates all splits of a tree for all rows of a block, side by side and
// without a walk. Each row has a bit per leaf of a tree. Each split takes away the bits of
// the leaves that the row cannot reach any more. The first bit that is left is the leaf
// that the row reaches.
//
// Leaf-wise trees, as LightGBM grows them, have few leaves and long ways to some of them.
// A walk takes as many steps as the longest way of the rows that are walked side by side;
// here each split costs a handful of vector instructions for 32 rows.
type bitTrees struct {
	tests  []bitTest
	counts []uint32  // tests of each tree
	leaves []float32 // mostExits of each tree, from left to right
}

// bitTrees returns the trees by their bits, or nil if they do not fit.
func (b *builder) bitTrees() *bitTrees {
	const mostColumns = 1 << 13 // of a block, which is turned in the fastest cache
	if b.columns > mostColumns {
		return nil
	}
	t := &bitTrees{leaves: make([]float32, len(b.trees)*mostExits)}
	for i, tree := range b.trees {
		before, leaves := len(t.tests), t.leaves[i*mostExits:(i+1)*mostExits]
		if n := t.add(b, tree.root, 0, leaves); n > mostExits {
			return nil
		}
		t.counts = append(t.counts, uint32(len(t.tests)-before))
	}
	return t
}

// add adds the splits below ref, whose leaves are numbered from first on, and returns the
// number behind its last leaf; more than mostExits: there are too many.
func (t *bitTrees) add(b *builder, ref int32, first int, leaves []float32) int {
	if ref < 0 {
		if first < mostExits {
			leaves[first] = float32(b.value(ref))
		}
		return first + 1
	}
	at := len(t.tests)
	t.tests = append(t.tests, bitTest{})
	mid := t.add(b, b.all[ref].left, first, leaves)
	if mid >= mostExits { // the right side has a leaf, too
		return mostExits + 1
	}
	s := &b.all[ref]
	t.tests[at] = bitTest{limit: int32(s.thr) + 1, keep: ^(uint32(1)<<mid - uint32(1)<<first), column: uint32(s.column) * BlockRows * 4}
	return t.add(b, s.right, mid, leaves)
}
