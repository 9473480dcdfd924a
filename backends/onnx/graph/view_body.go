package graph

// Body is a graph in an attribute of an operator.
type Body struct{ g *graph }

// Graph returns an attribute of one graph.
func (s Step) Graph(name string) (Body, bool) {
	if a := s.n.attribute(name); a != nil && len(a.graphs) == 1 {
		return Body{a.graphs[0]}, true
	}
	return Body{}, false
}

// Inputs returns the names of the graph's inputs.
func (b Body) Inputs() []string { return names(b.g.inputs) }

// Outputs returns the names of the graph's outputs.
func (b Body) Outputs() []string { return names(b.g.outputs) }

func names(values []*value) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v.name
	}
	return out
}

// Steps returns the operators of the graph, each after those whose outputs it takes.
func (b Body) Steps() []Step {
	out := make([]Step, len(b.g.nodes))
	for i, n := range b.g.nodes {
		out[i] = Step{n}
	}
	return out
}

// Constants returns the initializers of the graph by name.
func (b Body) Constants() map[string]Constant {
	out := make(map[string]Constant, len(b.g.initializers))
	for _, t := range b.g.initializers {
		out[t.name] = t.constant()
	}
	return out
}
