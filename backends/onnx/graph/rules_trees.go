package graph

// ending is the rule of a tree ensemble whose trees have no cycles: in one, ONNX Runtime
// would follow a row for ever, and no deadline ends that.
func ending(next rule) rule {
	return func(c *call) ([]*fact, error) {
		if cyclic(c.children()) {
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

// children returns the nodes that the nodes of a tree ensemble lead to. Lists that do not
// fit together give none: ONNX Runtime refuses them.
func (c *call) children() [][]int {
	if c.op == "TreeEnsemble" {
		return c.flatChildren()
	}
	trees, nodes, modes := c.ints("nodes_treeids"), c.ints("nodes_nodeids"), c.attribute("nodes_modes")
	if len(trees) != len(nodes) || modes == nil || len(modes.strings) != len(nodes) {
		return nil
	}
	type id struct{ tree, node int64 }
	at := make(map[id]int, len(nodes))
	for i, n := range nodes {
		at[id{trees[i], n}] = i
	}
	out := make([][]int, len(nodes))
	for _, name := range []string{"nodes_truenodeids", "nodes_falsenodeids"} {
		refs := c.ints(name)
		if len(refs) != len(nodes) {
			return nil
		}
		for i, ref := range refs {
			if child, ok := at[id{trees[i], ref}]; ok && string(modes.strings[i]) != "LEAF" {
				out[i] = append(out[i], child)
			}
		}
	}
	return out
}

// flatChildren is children for ai.onnx.ml 5, where leaves are no nodes.
func (c *call) flatChildren() [][]int {
	out := make([][]int, len(c.ints("nodes_featureids")))
	for _, names := range [][2]string{{"nodes_truenodeids", "nodes_trueleafs"}, {"nodes_falsenodeids", "nodes_falseleafs"}} {
		refs, leaves := c.ints(names[0]), c.ints(names[1])
		if len(refs) != len(out) || len(leaves) != len(out) {
			return nil
		}
		for i, ref := range refs {
			if leaves[i] == 0 && ref >= 0 && ref < int64(len(out)) {
				out[i] = append(out[i], int(ref))
			}
		}
	}
	return out
}

// cyclic reports whether a node leads to itself. It takes away nodes that no other leads
// to, until none is left, or only those of cycles and what they lead to.
func cyclic(children [][]int) bool {
	parents := make([]int32, len(children))
	for _, list := range children {
		for _, child := range list {
			parents[child]++
		}
	}
	var free []int
	for i, n := range parents {
		if n == 0 {
			free = append(free, i)
		}
	}
	left := len(children)
	for ; len(free) > 0; left-- {
		at := free[len(free)-1]
		free = free[:len(free)-1]
		for _, child := range children[at] {
			if parents[child]--; parents[child] == 0 {
				free = append(free, child)
			}
		}
	}
	return left > 0
}
