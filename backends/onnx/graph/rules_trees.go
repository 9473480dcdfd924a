package graph

import "slices"

// ending is the rule of a tree ensemble whose trees have no cycles: in one, ONNX Runtime
// would follow a row for ever, and no deadline ends that.
func ending(next rule) rule {
	return func(c *call) ([]*fact, error) {
		if c.children().cyclic() {
			return nil, problem(Malformed, "a node of its trees is below itself")
		}
		return next(c)
	}
}

func (c *call) ints(name string) []int64 {
	if a := c.attribute(name); a != nil {
		return a.ints
	}
	return nil
}

// links are the nodes that each node of a tree ensemble leads to, on either side; -1: none.
type links [2][]int32

func newLinks(nodes int) links {
	var out links
	for side := range out {
		out[side] = slices.Repeat([]int32{-1}, nodes)
	}
	return out
}

// children returns what the nodes of a tree ensemble lead to. Lists that do not fit
// together give none: ONNX Runtime refuses them.
func (c *call) children() links {
	if c.op == "TreeEnsemble" {
		return c.flatChildren()
	}
	trees, nodes, modes := c.ints("nodes_treeids"), c.ints("nodes_nodeids"), c.attribute("nodes_modes")
	if len(trees) != len(nodes) || modes == nil || len(modes.strings) != len(nodes) {
		return links{}
	}
	type id struct{ tree, node int64 }
	at := make(map[id]int32, len(nodes))
	for i, n := range nodes {
		at[id{trees[i], n}] = int32(i)
	}
	out := newLinks(len(nodes))
	for side, name := range []string{"nodes_truenodeids", "nodes_falsenodeids"} {
		refs := c.ints(name)
		if len(refs) != len(nodes) {
			return links{}
		}
		for i, ref := range refs {
			if child, ok := at[id{trees[i], ref}]; ok && string(modes.strings[i]) != "LEAF" {
				out[side][i] = child
			}
		}
	}
	return out
}

// flatChildren is children for ai.onnx.ml 5, where leaves are no nodes.
func (c *call) flatChildren() links {
	out := newLinks(len(c.ints("nodes_featureids")))
	for side, names := range [][2]string{{"nodes_truenodeids", "nodes_trueleafs"}, {"nodes_falsenodeids", "nodes_falseleafs"}} {
		refs, leaves, to := c.ints(names[0]), c.ints(names[1]), out[side]
		if len(refs) != len(to) || len(leaves) != len(to) {
			return links{}
		}
		for i, ref := range refs {
			if leaves[i] == 0 && ref >= 0 && ref < int64(len(to)) {
				to[i] = int32(ref)
			}
		}
	}
	return out
}

// cyclic reports whether a node leads to itself. It takes away nodes that no other leads
// to, until none is left, or only those of cycles and what they lead to.
func (l links) cyclic() bool {
	parents := make([]int32, len(l[0]))
	for _, side := range l {
		for _, child := range side {
			if child >= 0 {
				parents[child]++
			}
		}
	}
	var free []int32
	for i, n := range parents {
		if n == 0 {
			free = append(free, int32(i))
		}
	}
	left := len(parents)
	for ; len(free) > 0; left-- {
		at := free[len(free)-1]
		free = free[:len(free)-1]
		for _, side := range l {
			child := side[at]
			if child < 0 {
				continue
			}
			if parents[child]--; parents[child] == 0 {
				free = append(free, child)
			}
		}
	}
	return left > 0
}
