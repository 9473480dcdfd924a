package plan

import (
	"math"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
)

func number(bits uint64) float64 { return math.Float64frombits(bits) }

// alike checks that an operator has inputs, all of one type of number.
func alike(in []*value) (graph.ElemType, error) {
	if len(in) == 0 {
		return 0, unknown("it has no input")
	}
	for _, v := range in {
		switch {
		case v == nil:
			return 0, unknown("an input is left out")
		case v.elem != in[0].elem:
			return 0, unknown("its inputs are of %s and %s", in[0].elem, v.elem)
		case v.elem == graph.String:
			return 0, unknown("its inputs are strings")
		}
	}
	return in[0].elem, nil
}

func one(v *value, err error) ([]*value, error) { return []*value{v}, err }

// fold applies an operation to two inputs, its result to the third, and so on.
func fold(o op) handler {
	return func(r *recogniser, _ graph.Step, in []*value) ([]*value, error) {
		elem, err := alike(in)
		if err != nil {
			return nil, err
		}
		if elem == graph.Bool || (o == opDiv && !isFloat(elem)) {
			return nil, unknown("it computes %s", elem)
		}
		out := in[0]
		for _, v := range in[1:] {
			if out, err = r.each(o, elem, out, v); err != nil {
				return nil, err
			}
		}
		return []*value{out}, nil
	}
}

func mean(r *recogniser, s graph.Step, in []*value) ([]*value, error) {
	out, err := fold(opAdd)(r, s, in)
	if err != nil {
		return nil, err
	}
	n := &value{elem: in[0].elem, cells: []cell{{num: float64(len(in))}}}
	return fold(opDiv)(r, s, []*value{out[0], n})
}

// power allows an exponent of another type, as ONNX does.
func power(r *recogniser, _ graph.Step, in []*value) ([]*value, error) {
	if len(in) != 2 || in[0] == nil || in[1] == nil || !isFloat(in[0].elem) || in[1].elem == graph.String {
		return nil, unknown("its inputs are not numbers")
	}
	if in[1].elem == graph.Double && in[0].elem == graph.Float {
		return nil, unknown("its exponents have another precision")
	}
	return one(r.each(opPow, in[0].elem, in[0], in[1]))
}

func unary(o op) handler {
	return func(r *recogniser, _ graph.Step, in []*value) ([]*value, error) {
		elem, err := alike(in)
		if err != nil {
			return nil, err
		}
		if !isFloat(elem) && o != opNeg && o != opAbs && o != opSign {
			return nil, unknown("it computes %s", elem)
		}
		return one(r.each(o, elem, in[0]))
	}
}

func logic(o op) handler {
	return func(r *recogniser, _ graph.Step, in []*value) ([]*value, error) {
		if elem, err := alike(in); err != nil || elem != graph.Bool || len(in) != max(o.operands(), 1) {
			return nil, unknown("its inputs are not truth values")
		}
		return one(r.each(o, graph.Bool, in...))
	}
}

func compare(o op) handler {
	return func(r *recogniser, _ graph.Step, in []*value) ([]*value, error) {
		if _, err := alike(in); err != nil {
			return nil, err
		}
		if len(in) != max(o.operands(), 1) {
			return nil, unknown("it has %d inputs", len(in))
		}
		for _, v := range in {
			for _, c := range v.cells {
				if c.kind == isFeature && v.elem == graph.Int64 {
					return nil, unknown("integers of rows are compared")
				}
			}
		}
		return one(r.each(o, graph.Bool, in...))
	}
}

func where(r *recogniser, _ graph.Step, in []*value) ([]*value, error) {
	if len(in) != 3 || in[0] == nil || in[0].elem != graph.Bool {
		return nil, unknown("it has no condition")
	}
	elem, err := alike(in[1:])
	if err != nil {
		return nil, err
	}
	return one(r.each(opWhere, elem, in...))
}

func identity(_ *recogniser, _ graph.Step, in []*value) ([]*value, error) {
	if len(in) != 1 || in[0] == nil {
		return nil, unknown("it has %d inputs", len(in))
	}
	return in, nil
}

func cast(r *recogniser, s graph.Step, in []*value) ([]*value, error) {
	if _, err := alike(in); err != nil {
		return nil, err
	}
	return castTo(r, graph.ElemType(s.Int("to", 0)), in[0])
}

// castTo converts numbers. Rows' integers become numbers, and never the reverse:
// only for the leaves of trees is it known that they fit.
func castTo(r *recogniser, to graph.ElemType, v *value) ([]*value, error) {
	switch {
	case v.elem == to:
		return []*value{v}, nil
	case to == graph.Bool:
		return one(r.each(opTruth, to, v))
	case to == graph.Int64 || to == graph.Int32:
		return one(r.each(opTruncate, to, v))
	case !isFloat(to):
		return nil, unknown("it converts to %s", to)
	}
	out := &value{elem: to, rows: v.rows, rank: v.rank, dims: v.dims, cells: make([]cell, len(v.cells))}
	var err error
	for j, c := range v.cells {
		if c.kind == isFeature && v.elem == graph.Int64 {
			out.cells[j].kind = isRegister
			out.cells[j].at, err = r.feature(c.at, single(to), "")
		} else {
			out.cells[j], err = r.apply(opCopy, to, []cell{c})
		}
		if err != nil {
			return nil, err
		}
	}
	return []*value{out}, nil
}

// clip bounds its input from below, then from above.
func clip(r *recogniser, s graph.Step, in []*value) ([]*value, error) {
	if len(in) == 0 || in[0] == nil || !isFloat(in[0].elem) {
		return nil, unknown("it has no input of numbers")
	}
	v := in[0]
	bound := func(o op, at int, name string) error {
		var limit *value
		switch {
		case len(in) > at && in[at] != nil:
			limit = in[at]
		case s.Has(name):
			limit = &value{elem: v.elem, cells: []cell{{num: float64(s.Float(name, 0))}}}
		default:
			return nil
		}
		if limit.rows || limit.elem != v.elem || len(limit.cells) != 1 {
			return unknown("its bounds are no constants")
		}
		var err error
		v, err = r.each(o, v.elem, v, &value{elem: v.elem, cells: limit.cells})
		return err
	}
	if err := bound(opMax, 1, "min"); err != nil {
		return nil, err
	}
	return []*value{v}, bound(opMin, 2, "max")
}

// reduce folds the columns of rows into one.
func reduce(o op) handler {
	return func(r *recogniser, s graph.Step, in []*value) ([]*value, error) {
		if len(in) == 0 || in[0] == nil || !in[0].rows || in[0].rank != 2 || !isFloat(in[0].elem) {
			return nil, unknown("it does not reduce columns of rows")
		}
		axes := s.Ints("axes")
		if len(in) > 1 && in[1] != nil {
			axes, _ = in[1].ints()
		}
		if len(axes) != 1 || (axes[0] != 1 && axes[0] != -1) {
			return nil, unknown("it reduces axes %v", axes)
		}
		v := in[0]
		out := &value{elem: v.elem, rows: true, rank: 2}
		if s.Int("keepdims", 1) == 0 {
			out.rank = 1
		}
		joined, err := r.join(o, v.elem, v.cells)
		if err != nil {
			return nil, err
		}
		out.cells = []cell{joined}
		if s.Operator() == "ReduceMean" {
			return one(r.each(opDiv, v.elem, out, &value{elem: v.elem, cells: []cell{{num: float64(len(v.cells))}}}))
		}
		return []*value{out}, nil
	}
}

// join folds cells in the order of ONNX Runtime (Eigen's redux), which computes with
// vectors of 16 bytes: as many sums as two vectors have numbers, which become one.
func (r *recogniser) join(o op, elem graph.ElemType, cells []cell) (cell, error) {
	wide := 4
	if elem == graph.Double {
		wide = 2
	}
	var err error
	fold := func(a, b cell) cell {
		if err == nil {
			a, err = r.apply(o, elem, []cell{a, b})
		}
		return a
	}
	vectors := len(cells) / wide
	if vectors == 0 {
		return r.chain(o, elem, cells[0], cells[1:])
	}
	sums := slices.Clone(cells[:wide*min(vectors, 2)])
	for at := 2 * wide; at+2*wide <= vectors*wide; at += 2 * wide {
		for k := range sums {
			sums[k] = fold(sums[k], cells[at+k])
		}
	}
	if vectors > 1 {
		for k := range wide {
			sums[k] = fold(sums[k], sums[wide+k])
		}
		if vectors%2 == 1 {
			for k := range wide {
				sums[k] = fold(sums[k], cells[(vectors-1)*wide+k])
			}
		}
	}
	total := fold(sums[0], sums[1])
	if wide == 4 {
		total = fold(fold(sums[0], sums[2]), fold(sums[1], sums[3]))
	}
	if err != nil {
		return cell{}, err
	}
	return r.chain(o, elem, total, cells[vectors*wide:])
}

// chain folds cells one after another.
func (r *recogniser) chain(o op, elem graph.ElemType, first cell, rest []cell) (cell, error) {
	var err error
	for _, c := range rest {
		if first, err = r.apply(o, elem, []cell{first, c}); err != nil {
			return cell{}, err
		}
	}
	return first, nil
}
