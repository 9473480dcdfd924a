package forest

import (
	"math"
	"slices"
)

// split is a node whose comparison is "key <= thr": left if it holds, right
// otherwise. Its children are splits or, as negative numbers, leaves. Several
// splits may share a child.
type split struct {
	thr         int64
	column      int32 // beyond the columns: of the second copy
	left, right int32
}

// built is a tree of splits. Its splits are among those from begin to end, each behind its
// children.
type built struct {
	root       int32
	begin, end int
	depth      int
}

// builder collects the splits and the leaves of all trees.
type builder struct {
	columns int
	double  bool
	low     bool // a node reads the second copy
	all     []split
	leaves  []float64
	trees   []built
}

func (b *builder) leaf(v float64) int32 {
	b.leaves = append(b.leaves, v)
	return int32(-len(b.leaves)) // -1 is the first
}

func (b *builder) value(ref int32) float64 { return b.leaves[-ref-1] }

func (b *builder) add(thr int64, column int, low bool, left, right int32) int32 {
	if low {
		column += b.columns
		b.low = true
	}
	b.all = append(b.all, split{thr: thr, column: int32(column), left: left, right: right})
	return int32(len(b.all) - 1)
}

// tree adds a tree. Children are built before their parents, without recursion:
// a tree may be deep.
func (b *builder) tree(nodes []Node) error {
	order, err := walkOrder(nodes)
	if err != nil {
		return err
	}
	begin := len(b.all)
	refs, depths := make([]int32, len(nodes)), make([]int32, len(nodes))
	for _, i := range order {
		n := &nodes[i]
		if err := b.check(n); err != nil {
			return unfit("node %d: %w", i, err)
		}
		if n.Mode == Leaf {
			refs[i] = b.leaf(n.Value)
			continue
		}
		var levels int32
		refs[i], levels = b.node(n, refs[n.True], refs[n.False])
		depths[i] = levels + max(depths[n.True], depths[n.False])
		if depths[i] > MaxDepth {
			return unfit("it is deeper than %d", MaxDepth)
		}
		if len(b.all) > MaxNodes {
			return unfit("there are more than %d nodes", MaxNodes)
		}
	}
	b.trees = append(b.trees, built{root: refs[0], begin: begin, end: len(b.all), depth: int(depths[0])})
	return nil
}

// walkOrder returns the nodes below the root, children first. Nodes may share
// children, as exporters write categories, but must not be below themselves.
func walkOrder(nodes []Node) ([]int, error) {
	if len(nodes) == 0 {
		return nil, unfit("it has no node")
	}
	if len(nodes) > MaxNodes {
		return nil, unfit("there are more than %d nodes", MaxNodes)
	}
	const open, done = 1, 2
	state := make([]uint8, len(nodes))
	order := make([]int, 0, len(nodes))
	stack := []int{0}
	for len(stack) > 0 {
		at := stack[len(stack)-1]
		n := &nodes[at]
		if n.Mode == Leaf || state[at] != 0 {
			if stack = stack[:len(stack)-1]; state[at] != done {
				state[at] = done
				order = append(order, at)
			}
			continue
		}
		state[at] = open
		for _, child := range [2]int{n.True, n.False} {
			switch {
			case child < 0 || child >= len(nodes):
				return nil, unfit("node %d has child %d of %d nodes", at, child, len(nodes))
			case state[child] == open:
				return nil, unfit("node %d is below itself", child)
			case state[child] == 0:
				stack = append(stack, child)
			}
		}
	}
	return order, nil
}

func (b *builder) check(n *Node) error {
	if n.Mode > Leaf {
		return unfit("mode %d is unknown", n.Mode)
	}
	if !finite(n.Value) || (!b.double && n.Value != float64(float32(n.Value))) {
		return unfit("value %v is not finite in its precision", n.Value)
	}
	if n.Mode == Leaf {
		return nil
	}
	if n.Feature < 0 || n.Feature >= b.columns {
		return unfit("feature %d is not among the %d columns", n.Feature, b.columns)
	}
	for _, m := range n.Members {
		if !finite(m) || (!b.double && m != float64(float32(m))) {
			return unfit("member %v is not finite in its precision", m)
		}
	}
	return nil
}

func (b *builder) key(v float64) int64 {
	if b.double {
		return key64(v)
	}
	return int64(key32(float32(v)))
}

// node adds the splits of one node, and returns their root and depth.
//
// NaN has the highest key in the first copy of the columns, and goes right. It
// has the lowest key in the second copy, and goes left.
func (b *builder) node(n *Node, yes, no int32) (ref, levels int32) {
	k := b.key(n.Value)
	switch n.Mode {
	case LEQ:
		return b.add(k, n.Feature, n.MissingTrue, yes, no), 1
	case LT:
		return b.add(k-1, n.Feature, n.MissingTrue, yes, no), 1
	case GTE:
		return b.add(k-1, n.Feature, !n.MissingTrue, no, yes), 1
	case GT:
		return b.add(k, n.Feature, !n.MissingTrue, no, yes), 1
	case EQ:
		ref, levels = b.among([]int64{k - 1, k}, n.Feature, yes, no)
	case NEQ: // holds for NaN
		return b.among([]int64{k - 1, k}, n.Feature, no, yes)
	default:
		keys := make([]int64, 0, len(n.Members))
		for _, m := range n.Members {
			keys = append(keys, b.key(m))
		}
		slices.Sort(keys)
		bounds := make([]int64, 0, 2*len(keys))
		for _, key := range slices.Compact(keys) {
			bounds = append(bounds, key-1, key)
		}
		ref, levels = b.among(bounds, n.Feature, yes, no)
	}
	if n.MissingTrue { // only NaN has a key so low
		low := int64(math.MinInt32)
		if b.double {
			low = math.MinInt64
		}
		return b.add(low, n.Feature, true, yes, ref), levels + 1
	}
	return ref, levels
}

// among adds a binary search. Keys above an even number of the bounds, which
// ascend, lead to no, and others to yes. NaN leads to no.
func (b *builder) among(bounds []int64, feature int, yes, no int32) (ref, levels int32) {
	var search func(from, to int) (int32, int32)
	search = func(from, to int) (int32, int32) {
		if from == to {
			if from%2 == 1 {
				return yes, 0
			}
			return no, 0
		}
		mid := (from + to) / 2
		left, a := search(from, mid)
		right, c := search(mid+1, to)
		return b.add(bounds[mid], feature, false, left, right), 1 + max(a, c)
	}
	return search(0, len(bounds))
}

func (b *builder) depth() int {
	d := 0
	for _, t := range b.trees {
		d = max(d, t.depth)
	}
	return d
}

// padded returns how many leaves the trees have when they are padded.
func (b *builder) padded() int {
	d := b.depth()
	if d > mostComplete {
		return math.MaxInt
	}
	return len(b.trees) << d
}
