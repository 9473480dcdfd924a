package graph

import "math"

// inside checks an attribute's graph with these inputs and returns the facts of its
// outputs.
func (c *call) inside(name string, inputs []*fact) ([]*fact, error) {
	a := c.attribute(name)
	if a == nil || len(a.graphs) != 1 {
		return nil, problem(Malformed, "%s has no graph %q", c.describe(), name)
	}
	g := a.graphs[0]
	if len(g.inputs) != len(inputs) {
		return nil, problem(Malformed, "%s gives %d inputs to its graph, which takes %d", c.describe(), len(inputs), len(g.inputs))
	}
	s := newScope(g, c.scope)
	for i, v := range g.inputs {
		f := *inputs[i]
		f.data = true
		if err := s.set(v.name, &f); err != nil {
			return nil, err
		}
	}
	if err := c.checker.graph(g, s); err != nil {
		return nil, err
	}
	out := make([]*fact, len(g.outputs))
	for i, v := range g.outputs {
		f, err := s.get(v.name)
		if err != nil {
			return nil, err
		}
		out[i] = f
	}
	return out, nil
}

// known refuses graphs in attributes that the operator does not have.
func (c *call) known(names ...string) error {
	n := 0
	for _, a := range c.attributes {
		n += len(a.graphs)
	}
	if n != len(names) {
		return problem(Malformed, "%s has %d graphs instead of %d", c.describe(), n, len(names))
	}
	return nil
}

func ifRule(c *call) ([]*fact, error) {
	if err := c.known("then_branch", "else_branch"); err != nil {
		return nil, err
	}
	yes, err := c.inside("then_branch", nil)
	if err != nil {
		return nil, err
	}
	no, err := c.inside("else_branch", nil)
	if err != nil {
		return nil, err
	}
	if len(yes) != len(no) {
		return nil, problem(Malformed, "%s has branches of %d and %d outputs", c.describe(), len(yes), len(no))
	}
	out := make([]*fact, len(yes))
	for i := range out {
		out[i] = join(yes[i], no[i])
	}
	return out, nil
}

// carried refuses a body that passes a value to its next iteration larger than it
// got it. Otherwise it returns the facts after the last iteration.
func (c *call) carried(before, after []*fact) ([]*fact, error) {
	out := make([]*fact, len(before))
	for i, f := range before {
		if i >= len(after) || !after[i].within(f) {
			return nil, problem(Unknown, "%s passes a value that may grow to its next iteration (output %d): %s", c.describe(), i, trustHint)
		}
		g := f.like()
		g.text, g.loose = f.text, f.loose
		out[i] = g
	}
	return out, nil
}

// trips returns how many iterations a loop may take.
func (c *call) trips() (float64, error) {
	f := c.arg(0)
	switch {
	case f == nil:
		return 0, problem(Unbounded, "%s has no bound on its iterations: %s", c.describe(), trustHint)
	case f.data:
		return 0, problem(Unbounded, "%s takes its number of iterations from the data: %s", c.describe(), trustHint)
	case len(f.spans) != 1:
		return 0, problem(Unbounded, "%s has a number of iterations that this host cannot bound: %s", c.describe(), trustHint)
	case f.spans[0].hi > MaxLoopTrips:
		return 0, problem(Unbounded, "%s may take %.0f iterations; at most %d are allowed: %s", c.describe(), f.spans[0].hi, MaxLoopTrips, trustHint)
	}
	return max(f.spans[0].hi, 0), nil
}

func loopRule(c *call) ([]*fact, error) {
	if err := c.known("body"); err != nil {
		return nil, err
	}
	turns, err := c.trips()
	if err != nil {
		return nil, err
	}
	state := make([]*fact, 0, len(c.in))
	for i := 2; i < len(c.in); i++ {
		f, err := c.need(i)
		if err != nil {
			return nil, err
		}
		state = append(state, f.with(nil))
	}
	after, err := c.inside("body", append([]*fact{shaped(), shaped()}, state...))
	if err != nil {
		return nil, err
	}
	if len(after) < 1+len(state) {
		return nil, problem(Malformed, "%s has a body with %d outputs", c.describe(), len(after))
	}
	out, err := c.carried(state, after[1:])
	if err != nil {
		return nil, err
	}
	for _, f := range after[1+len(state):] {
		out = append(out, stacked(f, span{lo: 0, hi: turns}, 0, true))
	}
	return out, nil
}

// stacked returns n values of the size of f, stacked along an axis.
func stacked(f *fact, n span, axis int64, loose bool) *fact {
	out := counted(f.count * max(n.hi, 1))
	if axis < 0 {
		axis += int64(len(f.dims)) + 1
	}
	if f.ranked && axis >= 0 && axis <= int64(len(f.dims)) {
		dims := append([]span{}, f.dims[:axis]...)
		out = shaped(append(append(dims, n), f.dims[axis:]...)...)
	}
	out.text, out.loose = f.text, f.loose || loose
	return out
}

func scanRule(c *call) ([]*fact, error) {
	if err := c.known("body"); err != nil {
		return nil, err
	}
	scanned := int(c.int("num_scan_inputs", 0))
	states := len(c.in) - scanned
	if scanned < 1 || states < 0 || c.attribute("directions") != nil {
		return nil, c.errUnknown()
	}
	inputs := make([]*fact, len(c.in))
	turns := span{lo: 0, hi: math.Inf(1)}
	for i := range c.in {
		f, err := c.need(i)
		if err != nil {
			return nil, err
		}
		inputs[i] = f.with(nil)
		if i < states {
			continue
		}
		axis := at(c.ints("scan_input_axes"), i-states)
		n, ok := f.dim(axis)
		if !ok {
			return nil, c.errUnknown()
		}
		if n.hi < turns.hi {
			turns = n
		}
		if axis < 0 {
			axis += int64(len(f.dims))
		}
		dims := append([]span{}, f.dims[:axis]...)
		one := shaped(append(dims, f.dims[axis+1:]...)...)
		one.text, one.loose = f.text, f.loose
		inputs[i] = one
	}
	after, err := c.inside("body", inputs)
	if err != nil {
		return nil, err
	}
	if len(after) < states {
		return nil, problem(Malformed, "%s has a body with %d outputs", c.describe(), len(after))
	}
	out, err := c.carried(inputs[:states], after)
	if err != nil {
		return nil, err
	}
	for i, f := range after[states:] {
		out = append(out, stacked(f, turns, at(c.ints("scan_output_axes"), i), false))
	}
	return out, nil
}

func at(list []int64, i int) int64 {
	if i < len(list) {
		return list[i]
	}
	return 0
}
