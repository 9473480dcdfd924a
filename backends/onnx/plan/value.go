package plan

import (
	"math"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/forest"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
)

// value is a tensor of a graph: a constant, or cells for each row.
type value struct {
	elem   graph.ElemType
	rows   bool
	rank   int // of rows: 1 for [N] with one cell, 2 for [N, cells], 3 for [N, middle, cells/middle]
	middle int
	dims   []int64 // of a constant
	cells  []cell
	texts  [][]byte // of a constant of strings
	scan   *scan    // it is no columns of rows, but numbers for each training row
}

// kind says what is known of a cell.
type kind uint8

const (
	isConstant kind = iota
	isFeature       // as it comes in
	isRegister      // computed by a step
	isTrees         // a sum of functions of leaves
)

// cell is one number of each row.
type cell struct {
	kind  kind
	num   float64 // of a constant
	at    int     // the feature or the register
	trees *sum
}

// sum adds what terms give, in their order. Several cells may share one.
type sum struct {
	elem     graph.ElemType
	terms    []term
	register int // once it is computed by a step; else -1
}

// term is a function of the leaf that a row reaches in a tree.
type term struct {
	tree  *tree
	table []float64 // by the order of the tree's leaves
}

// tree is a tree of a graph, over cells.
type tree struct {
	nodes  []forest.Node
	leaves []int // places of the leaves among the nodes
	cells  []cell
	elem   graph.ElemType // of the cells
	double bool
}

// Limits of the work of recognising.
const (
	mostCells = 1 << 22 // of all values together
	mostWork  = 1 << 24 // entries of tables, and nodes of forests
	mostNodes = 1 << 20 // of an operator: more take too much memory while they are read
	mostSteps = 1 << 14
)

const exact = 1 << 53 // integers up to it are exact

// largest returns the largest integer of a type that is computed with: what is larger is
// not exact, or overflows in ONNX Runtime.
func largest(e graph.ElemType) float64 {
	switch e {
	case graph.Int64:
		return exact
	case graph.Int32:
		return math.MaxInt32
	}
	return 1 // truth values, and types that nothing computes with
}

// single reports whether numbers of the type are rounded to float32.
func single(e graph.ElemType) bool { return e == graph.Float }

func isFloat(e graph.ElemType) bool { return e == graph.Float || e == graph.Double }

// constantOf reads a tensor.
func constantOf(c graph.Constant) (*value, error) {
	v := &value{elem: c.Elem, dims: c.Dims}
	if c.Elem == graph.String {
		v.texts = c.Texts
		return v, nil
	}
	if c.Count() > mostCells {
		return nil, unknown("a constant has %d elements", c.Count())
	}
	numbers, ok := c.Numbers()
	if !ok {
		return nil, unknown("a constant of %s is not read", c.Elem)
	}
	v.cells = make([]cell, len(numbers))
	for i, n := range numbers {
		v.cells[i].num = n
	}
	return v, nil
}

// numbers returns the elements of a constant of numbers.
func (v *value) numbers() ([]float64, bool) {
	if v == nil || v.rows || v.elem == graph.String {
		return nil, false
	}
	out := make([]float64, len(v.cells))
	for i, c := range v.cells {
		out[i] = c.num
	}
	return out, true
}

// ints returns the elements of a constant of integers.
func (v *value) ints() ([]int64, bool) {
	numbers, ok := v.numbers()
	if !ok || (v.elem != graph.Int64 && v.elem != graph.Int32) {
		return nil, false
	}
	out := make([]int64, len(numbers))
	for i, n := range numbers {
		out[i] = int64(n)
	}
	return out, true
}

// shape returns the result of broadcasting values of rows and constants, without
// elements.
func shape(in []*value) (*value, error) {
	out := &value{rank: 2}
	width, rank := 1, 0
	for _, v := range in {
		if !v.rows {
			continue
		}
		if v.rank > 2 || (out.rows && v.rank != rank) {
			return nil, unknown("values of rank %d and %d meet", rank, v.rank)
		}
		out.rows, rank = true, v.rank
	}
	if !out.rows {
		return shapeOfConstants(in)
	}
	out.rank = rank
	for _, v := range in {
		if n := len(v.cells); n != width && n != 1 {
			if width != 1 {
				return nil, unknown("%d and %d columns meet", width, n)
			}
			width = n
		}
		if !v.rows && (len(v.dims) > rank || (len(v.dims) == 2 && v.dims[0] != 1) || (rank == 1 && len(v.cells) != 1)) {
			return nil, unknown("a constant of shape %v meets rows", v.dims)
		}
	}
	out.cells = make([]cell, width)
	return out, nil
}

func shapeOfConstants(in []*value) (*value, error) {
	out := in[0]
	for _, v := range in[1:] {
		switch {
		case len(v.cells) == 1 && len(v.dims) <= len(out.dims), slices.Equal(v.dims, out.dims):
		case len(out.cells) == 1 && len(out.dims) <= len(v.dims):
			out = v
		default:
			return nil, unknown("constants of shapes %v and %v meet", out.dims, v.dims)
		}
	}
	return &value{dims: out.dims, cells: make([]cell, len(out.cells))}, nil
}

// cell returns the cell of a column; a value of one column has it everywhere.
func (v *value) cell(column int) cell {
	if len(v.cells) == 1 {
		return v.cells[0]
	}
	return v.cells[column]
}

// each applies an operation to the columns of values, which it broadcasts.
func (r *recogniser) each(o op, elem graph.ElemType, in ...*value) (*value, error) {
	out, err := shape(in)
	if err != nil {
		return nil, err
	}
	if out.elem = elem; len(out.cells) > mostCells {
		return nil, unknown("there are too many values")
	}
	args := make([]cell, len(in))
	for j := range out.cells {
		for k, v := range in {
			args[k] = v.cell(j)
		}
		if out.cells[j], err = r.apply(o, elem, args); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// apply applies an operation to cells.
func (r *recogniser) apply(o op, elem graph.ElemType, args []cell) (cell, error) {
	if r.cells++; r.cells > mostCells {
		return cell{}, unknown("there are too many values")
	}
	var of *tree
	tables, constants := true, true
	for _, c := range args {
		switch {
		case c.kind == isConstant:
		case c.kind == isTrees && len(c.trees.terms) == 1 && (of == nil || of == c.trees.terms[0].tree):
			of, constants = c.trees.terms[0].tree, false
		default:
			tables, constants = false, false
		}
	}
	switch {
	case constants:
		table, err := r.table(o, elem, args, 1)
		if err != nil {
			return cell{}, err
		}
		return cell{num: table[0]}, nil
	case tables:
		table, err := r.table(o, elem, args, len(of.leaves))
		if err != nil {
			return cell{}, err
		}
		return treeCell(elem, term{of, table}), nil
	case o == opAdd && isFloat(elem): // a forest adds no integers: float32 would round them
		if c, ok := added(elem, args[0], args[1]); ok {
			r.cells += len(c.trees.terms) / 16
			return c, nil
		}
	}
	if !isFloat(elem) && elem != graph.Bool {
		return cell{}, unknown("rows are computed with %s", elem)
	}
	return r.emit(o, elem, args)
}

// table computes an operation for each of n leaves.
func (r *recogniser) table(o op, elem graph.ElemType, args []cell, n int) ([]float64, error) {
	if r.work += n; r.work > mostWork {
		return nil, unknown("there are too many leaves")
	}
	out := make([]float64, n)
	v := [3]float64{}
	for i := range out {
		for k, c := range args {
			if v[k] = c.num; c.kind == isTrees {
				v[k] = c.trees.terms[0].table[i]
			}
		}
		out[i] = o.of(v[0], v[1], v[2], single(elem))
		switch {
		case single(elem):
			out[i] = float64(float32(out[i]))
		case !isFloat(elem) && !(math.Abs(out[i]) <= largest(elem)):
			return nil, unknown("an integer is too large")
		}
	}
	return out, nil
}

func treeCell(elem graph.ElemType, terms ...term) cell {
	return cell{kind: isTrees, trees: &sum{elem: elem, terms: terms, register: -1}}
}

// added returns the sum of two sums over trees, if a forest adds it in the same
// order and precision.
func added(elem graph.ElemType, a, b cell) (cell, bool) {
	if a.kind != isTrees || b.kind != isTrees {
		return cell{}, false
	}
	first, last := a.trees.terms, b.trees.terms
	if len(last) > 1 {
		first, last = last, first
	}
	if len(last) > 1 || a.trees.register >= 0 || b.trees.register >= 0 {
		return cell{}, false
	}
	all := append(slices.Clone(first), last...)
	for _, t := range all {
		if t.tree.double != (elem == graph.Double) {
			return cell{}, false
		}
	}
	return treeCell(elem, all...), true
}
