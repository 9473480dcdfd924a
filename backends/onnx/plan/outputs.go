package plan

import (
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/forest"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
)

// ensembleOf returns what all outputs of an ensemble for regression are, as
// float32 or, of TreeEnsemble, in the type of its input.
func (r *recogniser) ensembleOf(t *trees, out graph.ElemType) ([]*value, error) {
	if len(t.base) != 0 && len(t.base) != t.targets {
		return nil, unknown("it has %d base values for %d targets", len(t.base), t.targets)
	}
	if t.targets < 1 || t.targets > 64 || (t.targets > 1 && t.aggregate > forest.Average) {
		return nil, unknown("it has %d targets", t.targets)
	}
	inner := graph.Float
	if t.double {
		inner = graph.Double
	}
	v := &value{elem: inner, rows: true, rank: 2}
	for k := range t.targets {
		base := 0.0
		if len(t.base) == t.targets {
			base = t.base[k]
		}
		if t.aggregate == forest.Average && t.targets > 1 && len(t.nodes) > 1 {
			return nil, unknown("it averages several targets")
		}
		c, err := r.target(t, int64(k), t.targets > 1, base)
		if err != nil {
			return nil, err
		}
		v.cells = append(v.cells, c)
	}
	v, err := r.transform(t.post, v)
	if err != nil {
		return nil, err
	}
	v, err = r.to(out, v)
	return []*value{v}, err
}

// transform applies a post transform to the scores of targets or classes. PROBIT is
// not known: ONNX Runtime's approximation loses the bits that a proof compares.
func (r *recogniser) transform(post string, v *value) (*value, error) {
	switch {
	case post == "NONE" || (len(v.cells) == 1 && (post == "LOGISTIC" || post == "SOFTMAX" || post == "SOFTMAX_ZERO")): // as ONNX Runtime does
		return v, nil
	case post == "LOGISTIC":
		return r.each(opLogistic, v.elem, v)
	case post == "SOFTMAX" || post == "SOFTMAX_ZERO":
		return r.softmax(v, post == "SOFTMAX_ZERO")
	}
	return nil, unknown("its post transform is %.20q", post)
}

// softmax divides exp(x - max) by the sum. With zero, numbers near 0 are
// multiplied by exp(-max) in place of that.
func (r *recogniser) softmax(v *value, zero bool) (*value, error) {
	var err error
	do := func(o op, elem graph.ElemType, in ...*value) (out *value) {
		if err == nil {
			out, err = r.each(o, elem, in...)
		}
		return out
	}
	join := func(o op, v *value) *value {
		out := &value{elem: v.elem, rows: true, rank: 2, cells: v.cells[:1:1]}
		for _, c := range v.cells[1:] {
			out = do(o, v.elem, out, &value{elem: v.elem, rows: true, rank: 2, cells: []cell{c}})
			if err != nil {
				return v
			}
		}
		return out
	}
	most := join(opMax, v)
	powers := do(opExp, v.elem, do(opSub, v.elem, v, most))
	parts := powers
	total := powers
	if zero {
		const near = 0.0000001
		small := &value{elem: v.elem, cells: []cell{{num: float64(float32(near))}}}
		none := &value{elem: v.elem, cells: []cell{{}}}
		size := do(opAbs, v.elem, v)
		counts := do(opGreater, graph.Bool, size, small)
		scaled := do(opMul, v.elem, v, do(opExp, v.elem, do(opNeg, v.elem, most)))
		parts = do(opWhere, v.elem, counts, powers, scaled)
		total = do(opWhere, v.elem, counts, powers, none)
	}
	if err != nil {
		return nil, err
	}
	out := do(opDiv, v.elem, parts, join(opAdd, total))
	return out, err
}

func regressor(r *recogniser, s graph.Step, in []*value) ([]*value, error) {
	t, err := readTrees(s, in, "target")
	if err != nil {
		return nil, err
	}
	if !isFloat(t.input.elem) {
		return nil, unknown("it compares %s", t.input.elem)
	}
	targets := s.Int("n_targets", 0)
	if targets < 1 || targets > 64 {
		return nil, unknown("it has %d targets", targets)
	}
	t.targets = int(targets)
	return r.ensembleOf(t, graph.Float)
}

// classifier knows ensembles whose weights are all of class 0 of two classes, as
// for boosted trees, and those with weights for all classes.
func classifier(r *recogniser, s graph.Step, in []*value) ([]*value, error) {
	t, err := readTrees(s, in, "class")
	if err != nil {
		return nil, err
	}
	if t.targets = max(len(s.Ints("classlabels_int64s")), len(s.Texts("classlabels_strings"))); t.targets < 2 || t.targets > 64 || t.aggregate != forest.Sum || t.double {
		return nil, unknown("it has %d classes, or does not add float32", t.targets)
	}
	used, positive := map[int64]bool{}, true
	for _, of := range t.weights {
		for target, list := range of {
			used[target] = true
			for _, w := range list {
				positive = positive && w.value >= 0
			}
		}
	}
	var scores *value
	switch {
	case t.targets == 2 && len(used) == 1 && used[0]:
		scores, err = r.second(t, positive)
	case len(used) == t.targets && (len(t.base) == 0 || (t.targets > 2 && len(t.base) == t.targets)):
		var all []*value
		if all, err = r.ensembleOf(t, graph.Float); err == nil {
			scores = all[0]
		}
	default:
		err = unknown("its classes have weights in a way that is not known")
	}
	if err != nil {
		return nil, err
	}
	return []*value{nil, scores}, nil
}

// second returns the scores of both of two classes from those of one.
func (r *recogniser) second(t *trees, positive bool) (*value, error) {
	base := 0.0
	if len(t.base) == 1 {
		base = t.base[0]
	} else if len(t.base) > 1 {
		return nil, unknown("it has %d base values", len(t.base))
	}
	c, err := r.target(t, 0, true, base)
	if err != nil {
		return nil, err
	}
	var both [2]cell
	switch {
	case positive && t.post != "PROBIT":
		both[1] = c
		both[0], err = r.apply(opSub, graph.Float, []cell{{num: 1}, c})
	case t.post == "LOGISTIC":
		var minus cell
		if minus, err = r.apply(opNeg, graph.Float, []cell{c}); err == nil {
			both[0], err = r.apply(opLogistic, graph.Float, []cell{minus})
		}
		if err == nil {
			both[1], err = r.apply(opLogistic, graph.Float, []cell{c})
		}
	default:
		err = unknown("its post transform is %.20q", t.post)
	}
	return &value{elem: graph.Float, rows: true, rank: 2, cells: both[:]}, err
}
