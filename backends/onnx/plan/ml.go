package plan

import (
	"math"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
)

// perColumn returns a list of one number for all columns, or one for each, as a
// constant.
func perColumn(list []float32, elem graph.ElemType, columns int) (*value, error) {
	if len(list) != 1 && len(list) != columns {
		return nil, unknown("it has %d numbers for %d columns", len(list), columns)
	}
	v := &value{elem: elem, dims: []int64{int64(len(list))}}
	for _, f := range list {
		v.cells = append(v.cells, cell{num: float64(f)})
	}
	return v, nil
}

// scaler computes (x - offset) * scale, in the precision of x or at least of
// float32, and rounds the result to float32.
func scaler(r *recogniser, s graph.Step, in []*value) ([]*value, error) {
	v, err := columnsOf(in)
	if err != nil {
		return nil, err
	}
	if v.elem == graph.Int64 {
		if v, err = r.to(graph.Float, v); err != nil {
			return nil, err
		}
	}
	if !isFloat(v.elem) {
		return nil, unknown("it scales %s", v.elem)
	}
	for k, name := range []string{"offset", "scale"} {
		list, err := perColumn(s.Floats(name), v.elem, len(v.cells))
		if err != nil {
			return nil, err
		}
		if v, err = r.each([]op{opSub, opMul}[k], v.elem, v, list); err != nil {
			return nil, err
		}
	}
	return one(r.to(graph.Float, v))
}

// to converts a value of numbers.
func (r *recogniser) to(elem graph.ElemType, v *value) (*value, error) {
	out, err := castTo(r, elem, v)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// imputer replaces a number, or NaN.
func imputer(r *recogniser, s graph.Step, in []*value) ([]*value, error) {
	v, err := columnsOf(in)
	if err != nil {
		return nil, err
	}
	if v.elem != graph.Float {
		return nil, unknown("it replaces %s", v.elem)
	}
	list, err := perColumn(s.Floats("imputed_value_floats"), v.elem, len(v.cells))
	if err != nil {
		return nil, err
	}
	replaced := float64(s.Float("replaced_value_float", 0))
	missing, o := []*value{v, {elem: v.elem, cells: []cell{{num: replaced}}}}, opEqual
	if math.IsNaN(replaced) {
		missing, o = missing[:1], opIsNaN
	}
	is, err := r.each(o, graph.Bool, missing...)
	if err != nil {
		return nil, err
	}
	return one(r.each(opWhere, v.elem, is, list, v))
}

// normalizer divides the columns of each row by their norm, unless it is 0.
func normalizer(r *recogniser, s graph.Step, in []*value) ([]*value, error) {
	v, err := columnsOf(in)
	if err != nil {
		return nil, err
	}
	if v.elem != graph.Float {
		return nil, unknown("it normalises %s", v.elem)
	}
	norm := s.Text("norm", "MAX")
	kinds := map[string]struct{ of, join op }{"MAX": {opCopy, opLarger}, "L1": {opAbs, opAdd}, "L2": {opMul, opAdd}}
	k, ok := kinds[norm]
	if !ok {
		return nil, unknown("its norm is %.20q", norm)
	}
	parts, err := r.each(k.of, v.elem, []*value{v, v}[:max(k.of.operands(), 1)]...)
	if err != nil {
		return nil, err
	}
	size := &value{elem: v.elem, rows: true, rank: 2, cells: []cell{{}}}
	if norm == "MAX" {
		size.cells[0].num = -math.MaxFloat32
	}
	for _, c := range parts.cells {
		next, err := r.apply(k.join, v.elem, []cell{size.cells[0], c})
		if err != nil {
			return nil, err
		}
		size.cells = []cell{next}
	}
	zero := &value{elem: v.elem, cells: []cell{{}}}
	none, err := r.each(opEqual, graph.Bool, size, zero)
	if err != nil {
		return nil, err
	}
	if norm != "L2" {
		parts = v
	}
	scaled, err := r.each(opDiv, v.elem, parts, size)
	if norm == "L2" && err == nil { // the root of the square's share, with the number's sign
		scaled, err = r.rooted(v, scaled, zero)
	}
	if err != nil {
		return nil, err
	}
	return one(r.each(opWhere, v.elem, none, v, scaled))
}

func (r *recogniser) rooted(v, share, zero *value) (*value, error) {
	root, err := r.each(opSqrt, v.elem, share)
	if err != nil {
		return nil, err
	}
	below, err := r.each(opLess, graph.Bool, v, zero)
	if err != nil {
		return nil, err
	}
	minus, err := r.each(opNeg, v.elem, root)
	if err != nil {
		return nil, err
	}
	return r.each(opWhere, v.elem, below, minus, root)
}

// labelEncoder maps the numbers of leaves, or the texts and integers of rows.
func labelEncoder(r *recogniser, s graph.Step, in []*value) ([]*value, error) {
	if len(in) != 1 || in[0] == nil {
		return nil, unknown("it has %d inputs", len(in))
	}
	if in[0].rows && areCategories(in[0]) {
		return r.encodeCategories(s, in[0])
	}
	if in[0].elem == graph.String {
		return nil, unknown("it maps no numbers")
	}
	keys, from, ok1 := list(s, "keys")
	values, to, ok2 := list(s, "values")
	if !ok1 || !ok2 || len(keys) != len(values) || from != in[0].elem {
		return nil, unknown("its keys and values are not lists of numbers")
	}
	otherwise, err := defaultOf(s, to)
	if err != nil {
		return nil, err
	}
	m := make(map[float64]float64, len(keys))
	for i, k := range keys {
		if _, twice := m[k]; twice || math.IsNaN(k) {
			return nil, unknown("key %v is given twice, or is no number", k)
		}
		m[k] = values[i]
	}
	v := in[0]
	out := &value{elem: to, rows: v.rows, rank: v.rank, dims: v.dims, cells: make([]cell, len(v.cells))}
	for j, c := range v.cells {
		if c.kind != isTrees || len(c.trees.terms) != 1 {
			return nil, unknown("it maps something else than the leaves of a tree")
		}
		t := c.trees.terms[0]
		if r.work += len(t.table); r.work > mostWork {
			return nil, unknown("there are too many leaves")
		}
		table := make([]float64, len(t.table))
		for i, x := range t.table {
			y, ok := m[x]
			if !ok {
				y = otherwise
			}
			table[i] = y
		}
		out.cells[j] = treeCell(to, term{t.tree, table})
	}
	return []*value{out}, nil
}

// defaultOf returns what a LabelEncoder maps other keys to.
func defaultOf(s graph.Step, to graph.ElemType) (float64, error) {
	if c, ok := s.Tensor("default_tensor"); ok {
		n, ok := c.Numbers()
		if !ok || len(n) != 1 {
			return 0, unknown("its default is no number")
		}
		return n[0], nil
	}
	if isFloat(to) {
		return float64(s.Float("default_float", float32(math.Copysign(0, -1)))), nil
	}
	return float64(s.Int("default_int64", -1)), nil
}

// list reads the keys or values of an encoder.
func list(s graph.Step, name string) (numbers []float64, elem graph.ElemType, ok bool) {
	switch {
	case s.Has(name + "_int64s"):
		for _, i := range s.Ints(name + "_int64s") {
			if i < -exact || i > exact {
				return nil, 0, false
			}
			numbers = append(numbers, float64(i))
		}
		return numbers, graph.Int64, true
	case s.Has(name + "_floats"):
		for _, f := range s.Floats(name + "_floats") {
			numbers = append(numbers, float64(f))
		}
		return numbers, graph.Float, true
	}
	return tensorOf(s, name+"_tensor")
}
