package plan

import (
	"math"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/forest"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// recogniser follows a graph.
type recogniser struct {
	in     Inputs
	values map[string]*value
	cells  int // made so far
	work   int // entries of tables

	steps     []step
	known     map[step]int   // registers of steps, by all but the register
	numbers   map[uint64]int // registers of constants, by their bits
	registers int
	forests   []*wood
	searches  []*search
	tables    [][]float64
	trial     *Trial
}

// push adds a step, or finds the same one.
func (r *recogniser) push(s step) (cell, error) {
	if at, ok := r.known[s]; ok {
		return cell{kind: isRegister, at: at}, nil
	}
	if len(r.steps) == mostSteps {
		return cell{}, unknown("it takes more than %d steps", mostSteps)
	}
	key := s
	s.to = r.registers
	r.registers++
	r.steps = append(r.steps, s)
	r.known[key] = s.to
	return cell{kind: isRegister, at: s.to}, nil
}

// emit adds the step that computes an operation.
func (r *recogniser) emit(o op, elem graph.ElemType, args []cell) (cell, error) {
	s := step{op: o, single: single(elem)}
	to := [3]*int{&s.a, &s.b, &s.c}
	for k, arg := range args {
		at, err := r.register(arg)
		if err != nil {
			return cell{}, err
		}
		*to[k] = at
	}
	return r.push(s)
}

// register returns the register of a cell.
func (r *recogniser) register(c cell) (int, error) {
	switch c.kind {
	case isConstant:
		bits := math.Float64bits(c.num)
		at, ok := r.numbers[bits]
		if !ok {
			at = r.registers
			r.numbers[bits] = at
			r.registers++
		}
		return at, nil
	case isFeature:
		if t := r.in.Features[c.at].DType; t == sdk.Int64 || t == sdk.String {
			return 0, unknown("feature %d, of %s, is not converted to a number first", c.at, t)
		}
		return r.feature(c.at, r.in.Features[c.at].DType == sdk.Float32, "")
	case isTrees:
		if c.trees.register < 0 {
			at, err := r.plant(c.trees)
			if err != nil {
				return 0, err
			}
			c.trees.register = at
		}
		return c.trees.register, nil
	}
	return c.at, nil
}

func (r *recogniser) feature(at int, single bool, text string) (int, error) {
	c, err := r.push(step{op: opLoad, at: at, single: single, text: text})
	return c.at, err
}

// plant makes the forest of a sum.
func (r *recogniser) plant(s *sum) (int, error) {
	e := forest.Ensemble{Double: s.terms[0].tree.double}
	for _, t := range s.terms {
		if len(s.terms) > 1 && t.tree.double != (s.elem == graph.Double) {
			return 0, unknown("trees of %s are added in another precision", t.tree.elem)
		}
	}
	w := &wood{}
	columns := map[int]int{} // by register
	for _, t := range s.terms {
		nodes, err := r.planted(t, w, columns)
		if err != nil {
			return 0, err
		}
		e.Trees = append(e.Trees, nodes)
	}
	return r.grow(w, e)
}

// planted returns the nodes of a term's tree over the columns of a forest.
func (r *recogniser) planted(t term, w *wood, columns map[int]int) ([]forest.Node, error) {
	if r.work += len(t.tree.nodes); r.work > mostWork {
		return nil, unknown("its trees have too many nodes")
	}
	nodes := append([]forest.Node(nil), t.tree.nodes...)
	for k, at := range t.tree.leaves {
		nodes[at].Value = t.table[k]
	}
	for i := range nodes {
		n := &nodes[i]
		if n.Mode == forest.Leaf {
			continue
		}
		if n.Feature < 0 || n.Feature >= len(t.tree.cells) {
			return nil, unknown("a tree reads column %d of %d", n.Feature, len(t.tree.cells))
		}
		at, err := r.column(t.tree.cells[n.Feature], t.tree.elem)
		if err != nil {
			return nil, err
		}
		column, ok := columns[at]
		if !ok {
			column = len(w.columns)
			columns[at] = column
			w.columns = append(w.columns, at)
		}
		n.Feature = column
	}
	return nodes, nil
}

// column returns the register of a cell that trees compare. They compare
// integers as float32.
func (r *recogniser) column(c cell, elem graph.ElemType) (int, error) {
	if c.kind == isFeature && elem == graph.Int64 {
		return r.feature(c.at, true, "")
	}
	if !isFloat(elem) {
		return 0, unknown("trees compare %s", elem)
	}
	return r.register(c)
}

// grow compiles a forest and adds its step.
func (r *recogniser) grow(w *wood, e forest.Ensemble) (int, error) {
	if len(w.columns) == 0 { // all trees are leaves
		at, err := r.register(cell{})
		if err != nil {
			return 0, err
		}
		w.columns = []int{at}
	}
	r.straighten(w, &e)
	var err error
	if e.Columns = len(w.columns); w.direct {
		e.Columns = len(r.in.Features)
	}
	if w.forest, err = forest.Compile(e); err != nil {
		return 0, unknown("%w", err)
	}
	r.trial.note(r, w, &e)
	r.forests = append(r.forests, w)
	c, err := r.push(step{op: opWood, at: len(r.forests) - 1})
	return c.at, err
}

// straighten lets a forest read the rows themselves if its columns are features
// of float32, and not too few of them.
func (r *recogniser) straighten(w *wood, e *forest.Ensemble) {
	const few = 64
	if e.Double || len(r.in.Features) > max(few, 4*len(w.columns)) {
		return
	}
	for _, f := range r.in.Features {
		if f.DType != sdk.Float32 {
			return
		}
	}
	features := make([]int, len(w.columns))
	loads := map[int]int{}
	for _, s := range r.steps {
		if s.op == opLoad {
			loads[s.to] = s.at
		}
	}
	for column, register := range w.columns {
		at, ok := loads[register]
		if !ok {
			return
		}
		features[column] = at
	}
	for _, nodes := range e.Trees {
		for i := range nodes {
			if nodes[i].Mode != forest.Leaf {
				nodes[i].Feature = features[nodes[i].Feature]
			}
		}
	}
	w.direct, w.columns = true, nil
}
