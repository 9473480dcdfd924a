package plan

import (
	"math"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
)

// mostCategories bounds the categories of one operator: each costs a step or two per row.
const mostCategories = 1 << 12

// areCategories reports whether all cells are features of texts or of integers, as they
// come in.
func areCategories(v *value) bool {
	if v.elem != graph.String && v.elem != graph.Int64 {
		return false
	}
	for _, c := range v.cells {
		if c.kind != isFeature {
			return false
		}
	}
	return true
}

// category is a text or an integer that rows are compared with.
type category struct {
	text   string
	number int64
}

// categoriesOf reads a list of different texts or integers.
func categoriesOf(s graph.Step, elem graph.ElemType, texts, ints string) ([]category, error) {
	var out []category
	if elem == graph.String {
		for _, text := range s.Texts(texts) {
			out = append(out, category{text: string(text)})
		}
	} else {
		for _, i := range s.Ints(ints) {
			if i <= -exact || i >= exact {
				return nil, unknown("category %d is too large", i)
			}
			out = append(out, category{number: i})
		}
	}
	if len(out) == 0 || len(out) > mostCategories {
		return nil, unknown("it has %d categories of the type of its input", len(out))
	}
	seen := map[category]bool{}
	for _, c := range out {
		if seen[c] {
			return nil, unknown("category %.20q is given twice", c.show(elem))
		}
		seen[c] = true
	}
	return out, nil
}

func (c category) show(elem graph.ElemType) any {
	if elem == graph.String {
		return c.text
	}
	return c.number
}

// is returns the cell that is 1 if a feature has a category, and 0 otherwise.
func (r *recogniser) is(feature int, elem graph.ElemType, c category) (cell, error) {
	if elem == graph.String {
		at, err := r.feature(feature, true, c.text)
		r.trial.texts[feature] = append(r.trial.texts[feature], c.text)
		return cell{kind: isRegister, at: at}, err
	}
	// Integers are exact as float64 below the bound of categories, and no larger one
	// becomes a smaller one.
	at, err := r.feature(feature, false, "")
	if err != nil {
		return cell{}, err
	}
	r.trial.keep(point{feature: feature, value: float64(c.number)})
	return r.emit(opEqual, graph.Double, []cell{{kind: isRegister, at: at}, {num: float64(c.number)}})
}

// encodeCategories maps the texts or integers of rows to numbers.
func (r *recogniser) encodeCategories(s graph.Step, v *value) ([]*value, error) {
	from, err := categoriesOf(s, v.elem, "keys_strings", "keys_int64s")
	if err != nil {
		return nil, err
	}
	values, to, ok := list(s, "values")
	if !ok || len(values) != len(from) || (to != graph.Int64 && !isFloat(to)) {
		return nil, unknown("its keys and values are not lists of one length")
	}
	otherwise, err := defaultOf(s, to)
	if err != nil {
		return nil, err
	}
	if math.IsNaN(otherwise) {
		return nil, unknown("its default is NaN")
	}
	out := &value{elem: to, rows: true, rank: v.rank, cells: make([]cell, len(v.cells))}
	for j, c := range v.cells {
		code := cell{num: otherwise}
		for k, key := range from {
			is, err := r.is(c.at, v.elem, key)
			if err == nil {
				code, err = r.emit(opWhere, graph.Double, []cell{is, {num: values[k]}, code})
			}
			if err != nil {
				return nil, err
			}
		}
		out.cells[j] = code
	}
	return []*value{out}, nil
}

// oneHot compares texts or integers with categories.
func oneHot(r *recogniser, s graph.Step, in []*value) ([]*value, error) {
	if len(in) != 1 || in[0] == nil || !in[0].rows || !areCategories(in[0]) || s.Int("zeros", 1) != 1 {
		return nil, unknown("it does not encode texts or integers of rows, with zeros for unknown ones")
	}
	v := in[0]
	categories, err := categoriesOf(s, v.elem, "cats_strings", "cats_int64s")
	if err != nil {
		return nil, err
	}
	out := &value{elem: graph.Float, rows: true, rank: v.rank + 1, middle: len(v.cells)}
	for _, c := range v.cells {
		for _, of := range categories {
			is, err := r.is(c.at, v.elem, of)
			if err != nil {
				return nil, err
			}
			out.cells = append(out.cells, is)
		}
	}
	return []*value{out}, nil
}
