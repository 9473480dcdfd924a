package graph

import "fmt"

const inlineHint = "inline the model's functions first, with onnx.inliner.inline_local_functions"

// inliner replaces calls of the model's own functions with their nodes.
type inliner struct {
	model     *model
	functions map[string]*function // by domain::name
	plain     map[*function]bool   // those that can be inlined
	calls     int
	nodes     int
	bytes     int64 // of the copies
	most      int64 // the limit of bytes
}

// inline replaces all calls, so that no function is left. It refuses calls of
// functions that have attributes or contain graphs.
func inline(m *model, most int64) error {
	in := &inliner{model: m, functions: map[string]*function{}, plain: map[*function]bool{}, most: most}
	for _, f := range m.functions {
		key := f.domain + "::" + f.name
		switch {
		case standardDomain(f.domain) || runtimeDomain(f.domain):
			return problem(Domain, "function %.80q is defined in domain %.80q, which is reserved for ONNX or ONNX Runtime", f.name, f.domain)
		case in.functions[key] != nil:
			return problem(Duplicate, "function %.80q is defined twice", f.name)
		}
		in.functions[key] = f
	}
	if len(in.functions) == 0 {
		return nil
	}
	m.functions = nil
	return in.graph(m.graph)
}

func (in *inliner) graph(g *graph) (err error) {
	g.nodes, err = in.expand(g.nodes, 0)
	return err
}

func (in *inliner) expand(nodes []*node, depth int) ([]*node, error) {
	out := make([]*node, 0, len(nodes))
	for _, n := range nodes {
		if in.nodes++; in.nodes > MaxNodes {
			return nil, problem(TooLarge, "the model has more than %d nodes after its functions are inlined", MaxNodes)
		}
		f := in.functions[n.domain+"::"+n.op]
		if f == nil {
			for _, a := range n.attributes {
				for _, g := range a.graphs {
					if err := in.graph(g); err != nil {
						return nil, err
					}
				}
			}
			out = append(out, n)
			continue
		}
		if depth >= MaxNesting {
			return nil, problem(TooLarge, "functions call each other more than %d deep", MaxNesting)
		}
		body, err := in.call(n, f)
		if err == nil {
			body, err = in.expand(body, depth+1)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, body...)
	}
	return out, nil
}

// call returns the nodes of a function, renamed for one of its calls.
func (in *inliner) call(n *node, f *function) ([]*node, error) {
	if err := in.simple(n, f); err != nil {
		return nil, err
	}
	if in.bytes += f.size(); in.bytes > in.most {
		return nil, problem(TooLarge, "inlining the model's functions takes more than %d MiB (limits.memory)", in.most>>20)
	}
	in.calls++
	names := map[string]string{"": ""}
	for i, name := range f.inputs {
		names[name] = n.input(i)
	}
	inner := func(name string) string { return fmt.Sprintf("inlined:%d:%s", in.calls, name) }
	given := map[string]string{} // outputs of f to outputs of n
	for i, name := range f.outputs {
		if i < len(n.outputs) && n.outputs[i] != "" {
			given[name] = n.outputs[i]
		}
	}
	var out []*node
	for _, b := range f.nodes {
		c := &node{name: inner(b.name), op: b.op, domain: b.domain, attributes: b.attributes}
		for _, name := range b.inputs {
			outer, ok := names[name]
			if !ok {
				return nil, problem(Malformed, "function %.80q uses %.80q before it computes it", f.name, name)
			}
			c.inputs = append(c.inputs, outer)
		}
		for _, name := range b.outputs {
			if name == "" {
				c.outputs = append(c.outputs, "")
				continue
			}
			if _, twice := names[name]; twice {
				return nil, problem(Duplicate, "value %.80q of function %.80q is computed twice", name, f.name)
			}
			if names[name] = given[name]; names[name] == "" {
				names[name] = inner(name)
			}
			delete(given, name)
			c.outputs = append(c.outputs, names[name])
		}
		out = append(out, c)
	}
	// The remaining outputs are inputs of the function, passed through.
	for _, name := range f.outputs {
		if to := given[name]; to != "" {
			if names[name] == "" {
				return nil, problem(Malformed, "function %.80q does not compute its output %.80q", f.name, name)
			}
			out = append(out, &node{op: "Identity", inputs: []string{names[name]}, outputs: []string{to}})
			delete(given, name)
		}
	}
	return out, nil
}

// simple refuses a function that would mean something else in another place.
func (in *inliner) simple(n *node, f *function) error {
	if f.attributes || len(n.attributes) > 0 {
		return problem(Function, "%s is a function with attributes: %s", n.describe(), inlineHint)
	}
	if len(n.inputs) > len(f.inputs) || len(n.outputs) > len(f.outputs) {
		return problem(Malformed, "%s has more inputs or outputs than its function", n.describe())
	}
	if in.plain[f] {
		return nil
	}
	for _, b := range f.nodes {
		for _, a := range b.attributes {
			if len(a.graphs) > 0 {
				return problem(Function, "function %.80q contains a graph: %s", f.name, inlineHint)
			}
		}
	}
	for _, o := range f.opsets {
		for _, other := range in.model.opsets {
			if o.domain == other.domain && o.version != other.version {
				return problem(Function, "function %.80q is written for another opset than the model: %s", f.name, inlineHint)
			}
		}
	}
	in.plain[f] = true
	return nil
}

// size returns how many bytes a copy of the function's nodes takes.
func (f *function) size() int64 {
	const inlined = 2 * bytesOfName // the name's prefix, and its entry in a map
	sum := inlined * int64(len(f.inputs)+len(f.outputs))
	for _, n := range f.nodes {
		sum += bytesOfNode + int64(len(n.name)) + bytesOfName*int64(len(n.inputs))
		for _, name := range n.outputs {
			sum += inlined + int64(len(name))
		}
	}
	return sum
}
