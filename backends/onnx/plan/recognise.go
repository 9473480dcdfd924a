package plan

import (
	"strings"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// elems are the types of inputs.
var elems = map[sdk.DType]graph.ElemType{
	sdk.Float32: graph.Float, sdk.Float64: graph.Double, sdk.Int64: graph.Int64, sdk.String: graph.String, sdk.Bool: graph.Bool,
}

// Recognise returns the plan of one output of a graph, and the trial with which
// it can be proved. Errors wrap ErrUnknown.
func Recognise(m *graph.Model, in Inputs, output Output) (*Plan, *Trial, error) {
	r := &recogniser{in: in, values: map[string]*value{}, known: map[step]int{}, numbers: map[uint64]int{}, trial: &Trial{texts: map[int][]string{}}}
	if err := r.inputs(); err != nil {
		return nil, nil, err
	}
	constants := m.Constants()
	for _, s := range needed(m.Steps(), output.Name) {
		in := make([]*value, len(s.Inputs()))
		for i, name := range s.Inputs() {
			if name == "" {
				continue
			}
			v, err := r.value(name, constants)
			if err != nil {
				return nil, nil, within(s, err)
			}
			in[i] = v
		}
		out, err := r.step(s, in)
		if err != nil {
			return nil, nil, within(s, err)
		}
		for i, name := range s.Outputs() {
			if i < len(out) && name != "" {
				r.values[name] = out[i]
			}
		}
	}
	p, err := r.finish(output)
	if err != nil {
		return nil, nil, err
	}
	return p, r.trial, nil
}

// within adds the operator to an error.
func within(s graph.Step, err error) error {
	return unknown("%s: %s", s.Operator(), strings.TrimPrefix(err.Error(), ErrUnknown.Error()+": "))
}

// needed returns the steps that an output needs, in their order.
func needed(steps []graph.Step, output string) []graph.Step {
	wanted := map[string]bool{output: true}
	keep := make([]bool, len(steps))
	n := 0
	for i := len(steps) - 1; i >= 0; i-- {
		for _, name := range steps[i].Outputs() {
			keep[i] = keep[i] || (name != "" && wanted[name])
		}
		if !keep[i] {
			continue
		}
		n++
		for _, name := range steps[i].Inputs() {
			wanted[name] = true
		}
	}
	out := make([]graph.Step, 0, n)
	for i, s := range steps {
		if keep[i] {
			out = append(out, s)
		}
	}
	return out
}

// inputs makes the values of the graph's inputs.
func (r *recogniser) inputs() error {
	if len(r.in.Features) == 0 {
		return unknown("there is no feature")
	}
	all := make([]cell, len(r.in.Features))
	for j, f := range r.in.Features {
		all[j] = cell{kind: isFeature, at: j}
		if !r.in.PerFeature && f.DType != r.in.Features[0].DType {
			return unknown("the features differ in type")
		}
	}
	for k, name := range r.in.Names {
		v := &value{elem: elems[r.in.Features[0].DType], rows: true, rank: 2, cells: all}
		switch {
		case r.in.Groups != nil:
			v.cells = nil
			for _, j := range r.in.Groups[k] {
				v.cells = append(v.cells, all[j])
			}
			v.elem = elems[r.in.Features[r.in.Groups[k][0]].DType]
		case r.in.PerFeature:
			v.rank, v.cells, v.elem = r.in.Rank, all[k:k+1], elems[r.in.Features[k].DType]
		}
		r.values[name] = v
	}
	return nil
}

func (r *recogniser) value(name string, constants map[string]graph.Constant) (*value, error) {
	if c, ok := constants[name]; ok { // also if it is an input: the host gives no other value
		if v := r.values[name]; v != nil && !v.rows {
			return v, nil
		}
		v, err := constantOf(c)
		r.values[name] = v
		return v, err
	}
	if v := r.values[name]; v != nil {
		return v, nil
	}
	return nil, unknown("value %.80q is not known", name)
}

// finish returns the plan of a value, without the steps that it does not need.
func (r *recogniser) finish(output Output) (*Plan, error) {
	v := r.values[output.Name]
	if v != nil && output.Column >= 0 && v.rank == 2 && output.Column < len(v.cells) {
		column := *v
		column.cells = v.cells[output.Column : output.Column+1]
		v = &column
	}
	if v == nil || !v.rows || v.scan != nil || v.rank > 2 || len(v.cells) != 1 || !isFloat(v.elem) {
		return nil, unknown("output %.80q is not one number per row", output.Name)
	}
	result, err := r.register(v.cells[0])
	if err != nil {
		return nil, err
	}
	p := &Plan{features: r.in.Features, constants: map[int]float64{}}
	live := r.live(result)
	at := make([]int, r.registers) // the new numbers of registers
	for old := range at {
		if live[old] {
			at[old] = p.registers
			p.registers++
		}
	}
	for _, s := range r.steps {
		if !live[s.to] {
			continue
		}
		if s.to, s.a, s.b, s.c = at[s.to], at[s.a], at[s.b], at[s.c]; s.op == opWood {
			p.forests = append(p.forests, moved(r.forests[s.at], at))
			s.at = len(p.forests) - 1
		}
		if s.op == opNearest {
			p.searches = append(p.searches, r.searches[s.at].move(at))
			s.at = len(p.searches) - 1
		}
		p.steps = append(p.steps, s)
	}
	for bits, old := range r.numbers {
		if live[old] {
			p.constants[at[old]] = number(bits)
		}
	}
	p.tables = r.tables
	if p.result = at[result]; len(p.forests) == 0 && len(p.searches) == 0 {
		return nil, unknown("there is no tree, and no search for neighbours")
	}
	r.trial.move(live, at)
	return p, nil
}

func moved(w *wood, at []int) *wood {
	out := &wood{forest: w.forest, direct: w.direct}
	for _, old := range w.columns {
		out.columns = append(out.columns, at[old])
	}
	return out
}

// live returns which registers a result needs.
func (r *recogniser) live(result int) []bool {
	live := make([]bool, r.registers)
	live[result] = true
	for i := len(r.steps) - 1; i >= 0; i-- {
		s := &r.steps[i]
		switch n := s.op.operands(); {
		case s.op == opNearest:
			r.searches[s.at].keep(live)
		case !live[s.to]:
		case s.op == opWood:
			for _, column := range r.forests[s.at].columns {
				live[column] = true
			}
		case n > 0:
			live[s.a] = true
			live[s.b] = live[s.b] || n > 1
			live[s.c] = live[s.c] || n > 2
		}
	}
	return live
}

// handler evaluates an operator.
type handler func(r *recogniser, s graph.Step, in []*value) ([]*value, error)

func (r *recogniser) step(s graph.Step, in []*value) ([]*value, error) {
	for _, v := range in {
		if v != nil && v.scan != nil {
			return r.scanned(s, in)
		}
	}
	h := handlers[s.Operator()]
	if h == nil {
		return nil, unknown("it is not one of the known operators")
	}
	return h(r, s, in)
}

// handlers are the known operators.
var handlers = map[string]handler{
	"Add": fold(opAdd), "Sub": fold(opSub), "Mul": fold(opMul), "Div": fold(opDiv), "Pow": power, "Max": fold(opMax), "Min": fold(opMin), "Sum": fold(opAdd),
	"Mean": mean, "Neg": unary(opNeg), "Abs": unary(opAbs), "Exp": unary(opExp), "Log": unary(opLog), "Sqrt": unary(opSqrt), "Sigmoid": unary(opSigmoid),
	"Tanh": unary(opTanh), "Floor": unary(opFloor), "Ceil": unary(opCeil), "Reciprocal": unary(opReciprocal), "Sign": unary(opSign), "Identity": identity,
	"Not": logic(opNot), "And": logic(opAnd), "Or": logic(opOr), "IsNaN": compare(opIsNaN), "Equal": compare(opEqual), "Less": compare(opLess),
	"Greater": compare(opGreater), "LessOrEqual": compare(opLessOrEqual), "GreaterOrEqual": compare(opGreaterOrEqual), "Where": where, "Cast": cast, "Clip": clip,
	"Constant": constantNode, "Concat": concat, "Gather": gather, "ml.ArrayFeatureExtractor": extract, "Slice": slice, "Reshape": reshape, "Flatten": flatten,
	"Squeeze": squeeze, "Unsqueeze": unsqueeze, "ReduceSum": reduce(opAdd), "ReduceMean": reduce(opAdd), "ReduceMax": reduce(opMax), "ReduceMin": reduce(opMin),
	"ml.Scaler": scaler, "ml.Imputer": imputer, "ml.Normalizer": normalizer, "ml.LabelEncoder": labelEncoder, "ml.OneHotEncoder": oneHot,
	"ml.TreeEnsembleRegressor": regressor, "ml.TreeEnsembleClassifier": classifier, "ml.TreeEnsemble": ensemble,
	"Scan": scanRows, "MatMul": cosine, "ReduceSumSquare": cosine,
}
