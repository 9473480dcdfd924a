package forest

// partLeaves is the number of leaves that a part of a tree has at most: a bit each.
const partLeaves = 32

// bitTest is a split in a part of a tree that is evaluated by its bits. A row whose key is
// below limit goes left; any other row cannot reach the leaves left of the split, whose
// bits are not in keep.
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
//
// A tree of more than 32 leaves has several parts, from right to left, each with the splits
// that take leaves of the part away. The leftmost part that has a bit left has the leaf.
type bitTrees struct {
	tests  []bitTest
	parts  []uint32  // tests of each part, with the flags below
	leaves []float32 // partLeaves of each part, from left to right
	few    int       // rows that are walked in less time than a block takes
}

// Flags of parts.
const (
	partOfSeveral = 1 << 31
	partLast      = 1 << 30 // the tree's leftmost part, behind which its leaf is added
)

// span is a split and the leaves on its left, by their numbers.
type span struct {
	split    *split
	from, to int
}

// bitTrees returns the trees by their bits, or nil if they do not fit or walks are quicker.
func (b *builder) bitTrees() *bitTrees {
	const mostColumns = 1 << 13 // of a block, which is turned in the fastest cache
	if b.columns > mostColumns {
		return nil
	}
	// Estimates of vector and other instructions for 32 rows.
	const perTest, perPart, perStep, perWalk = 18, 85, 8 * 32, 4 * 32
	t := &bitTrees{}
	walks := 0
	for _, tree := range b.trees {
		walks += tree.depth*perStep + perWalk
		f := flattener{builder: b, most: min(1+tree.depth*perStep/perTest, 1<<10)}
		n := f.flatten(tree.root, 0)
		if n > f.most {
			return nil
		}
		t.add(&f)
	}
	if t.few = BlockRows * (len(t.tests)*perTest + len(t.parts)*perPart) / walks; t.few >= BlockRows {
		return nil
	}
	return t
}

// flattener numbers the leaves of a tree from left to right.
type flattener struct {
	*builder
	most   int // leaves
	leaves []float32
	spans  []span
}

// flatten adds what is below ref, whose leaves are numbered from first on, and returns the
// number behind its last leaf. It ends early if there are too many.
func (f *flattener) flatten(ref int32, first int) int {
	if ref < 0 {
		f.leaves = append(f.leaves, float32(f.value(ref)))
		return first + 1
	}
	at := len(f.spans)
	f.spans = append(f.spans, span{})
	s := &f.all[ref]
	mid := f.flatten(s.left, first)
	f.spans[at] = span{s, first, mid}
	if mid > f.most {
		return mid
	}
	return f.flatten(s.right, mid)
}

// add adds the parts of a tree.
func (t *bitTrees) add(f *flattener) {
	parts := (len(f.leaves) + partLeaves - 1) / partLeaves
	for p := parts - 1; p >= 0; p-- {
		begin, end := p*partLeaves, (p+1)*partLeaves
		count := uint32(0)
		for _, s := range f.spans {
			from, to := max(s.from, begin), min(s.to, end)
			if from >= to {
				continue
			}
			away := uint32(uint64(1)<<(to-begin) - uint64(1)<<(from-begin))
			t.tests = append(t.tests, bitTest{limit: int32(s.split.thr) + 1, keep: ^away, column: uint32(s.split.column) * BlockRows * 4})
			count++
		}
		if parts > 1 {
			count |= partOfSeveral
		}
		if p == 0 {
			count |= partLast
		}
		t.parts = append(t.parts, count)
		leaves := f.leaves[begin:min(end, len(f.leaves))]
		t.leaves = append(append(t.leaves, leaves...), make([]float32, partLeaves-len(leaves))...)
	}
}
