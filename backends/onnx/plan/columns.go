package plan

import (
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
)

func constantNode(_ *recogniser, s graph.Step, _ []*value) ([]*value, error) {
	v := &value{}
	switch {
	case s.Has("value"):
		c, ok := s.Tensor("value")
		if !ok {
			return nil, unknown("it has no tensor")
		}
		return one(constantOf(c))
	case s.Has("value_float"), s.Has("value_floats"):
		v.elem = graph.Float
		for _, f := range append(s.Floats("value_float"), s.Floats("value_floats")...) {
			v.cells = append(v.cells, cell{num: float64(f)})
		}
	case s.Has("value_int"), s.Has("value_ints"):
		v.elem = graph.Int64
		for _, i := range append(append([]int64{}, s.Ints("value_int")...), s.Ints("value_ints")...) {
			if i < -exact || i > exact {
				return nil, unknown("an integer is too large")
			}
			v.cells = append(v.cells, cell{num: float64(i)})
		}
	default:
		return nil, unknown("it is not one of numbers")
	}
	if s.Has("value_floats") || s.Has("value_ints") {
		v.dims = []int64{int64(len(v.cells))}
	}
	return []*value{v}, nil
}

// columnsOf returns the first input if it is columns of rows.
func columnsOf(in []*value) (*value, error) {
	if len(in) == 0 || in[0] == nil || !in[0].rows || in[0].rank != 2 {
		return nil, unknown("its input is no columns of rows")
	}
	return in[0], nil
}

// lastAxis reports whether an axis is that of the columns.
func lastAxis(axis int64) bool { return axis == 1 || axis == -1 }

func concat(r *recogniser, s graph.Step, in []*value) ([]*value, error) {
	if !lastAxis(s.Int("axis", 0)) || len(in) == 0 {
		return nil, unknown("it does not join columns")
	}
	out := &value{rows: true, rank: 2}
	for _, v := range in {
		if v == nil || !v.rows || v.rank != 2 || v.elem != in[0].elem {
			return nil, unknown("its inputs are not columns of one type")
		}
		if r.cells += len(v.cells); r.cells > mostCells {
			return nil, unknown("there are too many values")
		}
		out.elem = v.elem
		out.cells = append(out.cells, v.cells...)
	}
	return []*value{out}, nil
}

// pick returns some columns of a value.
func (r *recogniser) pick(v *value, at []int64) (*value, error) {
	if r.cells += len(at); r.cells > mostCells {
		return nil, unknown("there are too many values")
	}
	out := &value{elem: v.elem, rows: true, rank: 2, cells: make([]cell, len(at))}
	for k, j := range at {
		if j < 0 {
			j += int64(len(v.cells))
		}
		if j < 0 || j >= int64(len(v.cells)) {
			return nil, unknown("it takes column %d of %d", at[k], len(v.cells))
		}
		out.cells[k] = v.cells[j]
	}
	return out, nil
}

func gather(r *recogniser, s graph.Step, in []*value) ([]*value, error) {
	v, err := columnsOf(in)
	if err != nil {
		return nil, err
	}
	if len(in) != 2 || !lastAxis(s.Int("axis", 0)) || len(in[1].dims) > 1 {
		return nil, unknown("it does not take columns")
	}
	at, ok := in[1].ints()
	if !ok {
		return nil, unknown("the columns that it takes are not known")
	}
	out, err := r.pick(v, at)
	if err == nil && len(in[1].dims) == 0 {
		out.rank = 1
	}
	return one(out, err)
}

func extract(r *recogniser, _ graph.Step, in []*value) ([]*value, error) {
	v, err := columnsOf(in)
	if err != nil {
		return nil, err
	}
	if len(in) != 2 || in[1] == nil {
		return nil, unknown("it does not take columns")
	}
	at, ok := in[1].ints()
	for _, j := range at {
		ok = ok && j >= 0
	}
	if !ok || len(at) == 0 {
		return nil, unknown("the columns that it takes are not known")
	}
	return one(r.pick(v, at))
}

func slice(r *recogniser, s graph.Step, in []*value) ([]*value, error) {
	v, err := columnsOf(in)
	if err != nil {
		return nil, err
	}
	part := func(at int, name string) (int64, bool) {
		list := s.Ints(name)
		if len(in) > at && in[at] != nil {
			list, _ = in[at].ints()
		}
		return append(list, 0)[0], len(list) == 1
	}
	from, ok1 := part(1, "starts")
	to, ok2 := part(2, "ends")
	axis, ok3 := part(3, "axes")
	by, stepped := part(4, "steps")
	if !ok1 || !ok2 || !ok3 || !lastAxis(axis) || (len(in) > 4 && (!stepped || by != 1)) {
		return nil, unknown("it does not take columns that are known")
	}
	n := int64(len(v.cells))
	bound := func(i int64) int64 {
		if i < 0 {
			i += n
		}
		return min(max(i, 0), n)
	}
	from, to = bound(from), bound(to)
	if from >= to {
		return nil, unknown("it takes no column")
	}
	at := make([]int64, 0, to-from)
	for j := from; j < to; j++ {
		at = append(at, j)
	}
	return one(r.pick(v, at))
}

// reshape allows what leaves rows rows.
func reshape(_ *recogniser, s graph.Step, in []*value) ([]*value, error) {
	if len(in) == 0 || in[0] == nil || !in[0].rows {
		return nil, unknown("it does not reshape rows")
	}
	v := in[0]
	to := s.Ints("shape")
	if len(in) > 1 {
		to, _ = in[1].ints()
	}
	n := int64(len(v.cells))
	out := *v
	switch {
	case len(to) == 2 && (to[0] == -1 || to[0] == 0) && (to[1] == n || (to[0] == 0 && (to[1] == -1 || (to[1] == 0 && v.rank == 2)))) && s.Int("allowzero", 0) == 0:
		out.rank = 2
	case len(to) == 1 && to[0] == -1 && n == 1:
		out.rank = 1
	default:
		return nil, unknown("it reshapes %d columns to %v", n, to)
	}
	return []*value{&out}, nil
}

func flatten(_ *recogniser, s graph.Step, in []*value) ([]*value, error) {
	if _, err := columnsOf(in); err != nil {
		return nil, err
	}
	if !lastAxis(s.Int("axis", 1)) {
		return nil, unknown("it joins rows")
	}
	return in[:1], nil
}

// axesOf returns the axes of an operator: an attribute, or an input.
func axesOf(s graph.Step, in []*value) []int64 {
	if len(in) > 1 && in[1] != nil {
		axes, _ := in[1].ints()
		return axes
	}
	return s.Ints("axes")
}

func squeeze(_ *recogniser, s graph.Step, in []*value) ([]*value, error) {
	if axes := axesOf(s, in); len(in) > 0 && in[0] != nil && in[0].rows && in[0].rank == 3 && in[0].middle == 1 && len(axes) == 1 && (axes[0] == 1 || axes[0] == -2) {
		out := *in[0]
		out.rank = 2
		return []*value{&out}, nil
	}
	v, err := columnsOf(in)
	if err != nil {
		return nil, err
	}
	if axes := axesOf(s, in); len(v.cells) != 1 || len(axes) != 1 || !lastAxis(axes[0]) {
		return nil, unknown("it does not remove the columns' axis")
	}
	out := *v
	out.rank = 1
	return []*value{&out}, nil
}

func unsqueeze(_ *recogniser, s graph.Step, in []*value) ([]*value, error) {
	axes := axesOf(s, in)
	if len(in) == 0 || in[0] == nil || !in[0].rows || in[0].rank != 1 || len(axes) != 1 || !lastAxis(axes[0]) {
		return nil, unknown("it does not add the columns' axis")
	}
	out := *in[0]
	out.rank = 2
	return []*value{&out}, nil
}
