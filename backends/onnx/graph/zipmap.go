package graph

import (
	"slices"
	"strconv"
)

// Unzipped returns the model with every ZipMap that makes one of its outputs left out,
// so that the output is the matrix that the ZipMap took. A ZipMap turns the columns of
// a matrix into maps by class: they say the same, and take much longer. A ZipMap whose
// maps are read by other nodes stays. An output of a tree ensemble that is declared as a
// vector, as CatBoost does, becomes the matrix that it is: ONNX Runtime would refuse to
// fill it. The changed model is checked like a file. A model without such outputs is
// returned as it is.
func (m *Model) Unzipped(limits Limits) (*Model, error) {
	changed := *m.checked
	top := *changed.graph
	changed.graph = &top
	top.nodes, top.outputs = slices.Clone(top.nodes), slices.Clone(top.outputs)
	var zipped []string
	declared := declareMatrices(&top)
	zips := makers(&top, "ZipMap")
	read := map[string]bool{}
	if len(zips) > 0 {
		reads(&top, zips, read)
	}
	for i, out := range top.outputs {
		at, ok := zips[out.name]
		if !ok || read[out.name] {
			continue
		}
		n := top.nodes[at]
		classes := int64(len(n.classes()))
		if len(n.inputs) != 1 || len(n.outputs) != 1 || classes < 2 {
			continue
		}
		top.nodes[at] = &node{name: n.name, op: "Identity", inputs: n.inputs, outputs: n.outputs}
		// A ZipMap takes a matrix of floats with a column for each class.
		matrix := &typ{kind: tensorKind, elem: Float, hasShape: true, dims: []dim{{size: -1}, {size: classes}}}
		top.outputs[i] = &value{name: out.name, typ: matrix}
		zipped = append(zipped, out.name)
	}
	if len(zipped) == 0 && !declared {
		return m, nil
	}
	w := &writer{}
	w.model(&changed)
	out, err := Check(w.b, limits)
	if err != nil {
		return nil, err
	}
	out.Classes, out.Zipped = m.Classes, zipped
	return out, nil
}

// declareMatrices declares outputs of tree ensembles for regression as matrices, if they
// are declared as vectors, and reports whether there are any.
func declareMatrices(g *graph) (changed bool) {
	trees := makers(g, "TreeEnsemble", "TreeEnsembleRegressor")
	for i, out := range g.outputs {
		if out.typ == nil || out.typ.kind != tensorKind || !out.typ.hasShape || len(out.typ.dims) != 1 {
			continue
		}
		at, ok := trees[out.name]
		if !ok {
			continue
		}
		targets := int64(1)
		if a := g.nodes[at].attribute("n_targets"); a != nil && len(a.ints) == 1 {
			targets = max(a.ints[0], 1)
		}
		matrix := *out.typ
		matrix.dims = []dim{out.typ.dims[0], {size: targets}}
		g.outputs[i] = &value{name: out.name, typ: &matrix}
		changed = true
	}
	return changed
}

const mlDomain = "ai.onnx.ml"

// makers returns the places of the nodes of some operators of ai.onnx.ml, by the names of
// what they make. Graphs may have a million nodes and outputs, so each is looked at once.
func makers(g *graph, ops ...string) map[string]int {
	out := map[string]int{}
	for i, n := range g.nodes {
		if n.domain != mlDomain || !slices.Contains(ops, n.op) {
			continue
		}
		for _, name := range n.outputs {
			out[name] = i
		}
	}
	return out
}

// reads adds to read those of some values that a node of a graph, or of a graph inside it,
// reads.
func reads(g *graph, of map[string]int, read map[string]bool) {
	mark := func(name string) {
		if _, ok := of[name]; ok {
			read[name] = true
		}
	}
	for _, n := range g.nodes {
		for _, name := range n.inputs {
			mark(name)
		}
		for _, a := range n.attributes {
			for _, inner := range a.graphs {
				reads(inner, of, read)
				for _, v := range inner.outputs {
					mark(v.name)
				}
			}
		}
	}
}

// classes returns the labels that a classifier or ZipMap gives to the columns of its
// output, or nil.
func (n *node) classes() []string {
	for _, name := range []string{"classlabels_int64s", "classlabels_ints", "classlabels_strings"} {
		a := n.attribute(name)
		if a == nil {
			continue
		}
		var labels []string
		for _, v := range a.ints {
			labels = append(labels, strconv.FormatInt(v, 10))
		}
		for _, s := range a.strings {
			labels = append(labels, string(s))
		}
		if len(labels) > 0 {
			return labels
		}
	}
	return nil
}

// labels returns the labels of a graph's last classifier, or nil.
func labels(g *graph) (last []string) {
	for _, n := range g.nodes {
		if c := n.classes(); n.domain == mlDomain && c != nil {
			last = c
		}
	}
	return last
}
