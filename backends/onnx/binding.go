package onnx

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// binding maps a batch to the graph's inputs. Its fields are exported for gob:
// the probe's process receives it.
type binding struct {
	Features   []sdk.Feature
	Inputs     []string // one for all features, or one per feature
	PerFeature bool
	Groups     [][]int `json:",omitempty"` // the features of each input, if one takes several; nil: each takes the feature of its index
	Rank       int     // of all inputs: 1 or 2
	Fixed      int     // rows per call; 0: any number
	Output     string
	OutputF64  bool
	OutputRank int // 1 or 2; 0: unknown
	// Of an output with several values per row. The fields' absence leaves the names of
	// proofs as they were.
	Width          int    `json:",omitempty"` // how many; 0: one, or unknown
	Columns        bool   `json:",omitempty"` // the score is in Column
	Column         int    `json:",omitempty"`
	Reconstruction string `json:",omitempty"` // how the score follows from the rebuilt row
}

// wide reports whether the output has several values per row.
func (b *binding) wide() bool { return b.Columns || b.Reconstruction != "" }

// elems maps the supported input types.
var elems = map[graph.ElemType]sdk.DType{
	graph.Float: sdk.Float32, graph.Double: sdk.Float64, graph.Int64: sdk.Int64, graph.String: sdk.String, graph.Bool: sdk.Bool,
}

// bindGraph matches a complete manifest with the graph.
func bindGraph(m *manifest.Manifest, g *graph.Model) (*binding, error) {
	b := &binding{Features: m.SDKFeatures(), Rank: 2}
	in := b.bindInputs(m, g)
	if in != nil && firstDim(g) > 0 {
		return nil, in // what the output must be depends on the input
	}
	out := b.bindOutput(m, g)
	switch {
	case in != nil && out != nil:
		return nil, fmt.Errorf("%w; %w", in, out)
	case in != nil:
		return nil, in
	}
	return b, out
}

func (b *binding) bindInputs(m *manifest.Manifest, g *graph.Model) error {
	if len(g.Inputs) == 0 {
		return errors.New("the graph has no input")
	}
	if len(g.Inputs) == 1 && (m.Input == "" || m.Input == g.Inputs[0].Name) && isMatrix(g.Inputs[0], m) {
		return b.bindTensor(g.Inputs[0])
	}
	if m.Input != "" {
		return fmt.Errorf("the manifest names input %q; the graph has %s", m.Input, list(g.Inputs))
	}
	b.PerFeature = true
	return b.bindColumns(m, g)
}

// bindColumns matches features with the inputs of a graph that has several, or one
// for one feature. An input that several features name takes them as its columns.
func (b *binding) bindColumns(m *manifest.Manifest, g *graph.Model) error {
	of := map[string][]int{} // the features of an input
	for k, f := range m.Features {
		name := cmp.Or(f.Input, f.Name)
		if len(of[name]) == 0 {
			b.Inputs = append(b.Inputs, name)
		}
		of[name] = append(of[name], k)
	}
	if len(g.Inputs) != len(b.Inputs) {
		return fmt.Errorf("the manifest has %d features for %d inputs; the graph has %d inputs: %s%s", len(b.Features), len(b.Inputs), len(g.Inputs), list(g.Inputs), inputHint)
	}
	var wrong []string
	for k, name := range b.Inputs {
		v := find(g.Inputs, name)
		if v == nil {
			wrong = append(wrong, fmt.Sprintf("feature %q is no input of the graph, which has %s%s", name, list(g.Inputs), inputHint))
			continue
		}
		if err := b.bindColumn(*v, of[name], k == 0); err != nil {
			wrong = append(wrong, err.Error())
		}
		b.Groups = append(b.Groups, of[name])
	}
	if len(wrong) > 0 {
		return errors.New(some(wrong, "; "))
	}
	if len(b.Groups) == len(b.Features) { // one feature an input, in the order of the features
		b.Groups = nil
	}
	return nil
}

const inputHint = ": say which input takes which feature, by features: [{name: age, input: input_0}] in model.yaml"

// bindColumn matches an input with the features that it takes.
func (b *binding) bindColumn(v graph.Value, features []int, first bool) error {
	for _, k := range features {
		if err := matches(b.Features[k], v); err != nil {
			return err
		}
	}
	switch {
	case len(features) == 1 && !isVector(v):
		return fmt.Errorf("input %s must be [N,1] or [N] to take one feature", v)
	case len(features) > 1 && (!v.IsTensor() || len(v.Dims) != 2 || v.Dims[1] >= 0 && int(v.Dims[1]) != len(features)):
		return fmt.Errorf("input %s cannot take %d features, as the manifest says", v, len(features))
	}
	rank, fixed := len(v.Dims), int(max(v.Dims[0], 0))
	if !first && (rank != b.Rank || fixed != b.Fixed) {
		return fmt.Errorf("input %s differs in shape from the others", v)
	}
	b.Rank, b.Fixed = rank, fixed
	return nil
}

// isMatrix reports whether the graph's only input v takes all features of the model.
// Otherwise it has the name of the only feature, and takes one number per row.
func isMatrix(v graph.Value, m *manifest.Manifest) bool {
	for _, f := range m.Features {
		if f.Input != "" && f.Input != v.Name {
			return false
		}
	}
	return len(m.Features) != 1 || cmp.Or(m.Features[0].Input, m.Features[0].Name) != v.Name || !isVector(v)
}

func isVector(v graph.Value) bool {
	return v.IsTensor() && v.HasShape && (len(v.Dims) == 1 || (len(v.Dims) == 2 && v.Dims[1] == 1))
}

func (b *binding) bindTensor(v graph.Value) error {
	if !v.IsTensor() || !v.HasShape || len(v.Dims) != 2 {
		return fmt.Errorf("input %s must be a tensor of rows x features", v)
	}
	if d := v.Dims[1]; d >= 0 && int(d) != len(b.Features) {
		return fmt.Errorf("the manifest has %d features; input %s takes %d", len(b.Features), v, d)
	}
	var wrong []string
	for _, f := range b.Features {
		if err := matches(f, v); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	if len(wrong) > 0 {
		return errors.New(some(wrong, "; "))
	}
	b.Inputs, b.Fixed = []string{v.Name}, int(max(v.Dims[0], 0))
	return nil
}

func matches(f sdk.Feature, v graph.Value) error {
	want, ok := elems[v.Elem]
	if !ok {
		return fmt.Errorf("input %s: only float, double, int64, string and bool inputs are served", v)
	}
	if f.DType != want {
		return fmt.Errorf("feature %q is %s in the manifest; input %s takes %s", f.Name, f.DType, v, want)
	}
	return nil
}

// derive returns what the graph adds to the manifest.
func derive(m *manifest.Manifest, g *graph.Model) (manifest.Derived, error) {
	features, input := m.Features, ""
	var err error
	if len(features) == 0 {
		features, err = deriveFeatures(g)
		if m.Input == "" && takesMatrix(g) {
			input = g.Inputs[0].Name
		}
	} else {
		features, err = m.Typed(func(f manifest.Feature) (sdk.DType, error) { return typeOf(f, g) })
	}
	if err != nil {
		return manifest.Derived{}, err
	}
	d, err := deriveOutput(m, wantedBy(m, len(features), g), g)
	d.Features, d.Input = features, input
	return d, err
}

// typeOf returns the type that the graph's input of a feature takes.
func typeOf(f manifest.Feature, g *graph.Model) (sdk.DType, error) {
	v := find(g.Inputs, f.Input)
	if v == nil {
		return 0, fmt.Errorf("feature %q has input %q, which the graph has not: it has %s", f.Name, f.Input, list(g.Inputs))
	}
	dtype, ok := elems[v.Elem]
	if !ok || !v.IsTensor() {
		return 0, fmt.Errorf("input %s: only float, double, int64, string and bool tensors are served", v)
	}
	return dtype, nil
}

// takesMatrix reports whether the graph has one input for all features.
func takesMatrix(g *graph.Model) bool { return len(g.Inputs) == 1 && !isVector(g.Inputs[0]) }

func firstDim(g *graph.Model) int64 {
	if len(g.Inputs) == 0 || len(g.Inputs[0].Dims) == 0 {
		return -1
	}
	return g.Inputs[0].Dims[0]
}

func deriveFeatures(g *graph.Model) ([]manifest.Feature, error) {
	feature := func(name string, v graph.Value) (manifest.Feature, error) {
		dtype, ok := elems[v.Elem]
		if !ok || !v.IsTensor() {
			return manifest.Feature{}, fmt.Errorf("input %s: only float, double, int64, string and bool tensors are served", v)
		}
		return manifest.Feature{Feature: sdk.Feature{Name: name, DType: dtype}}, nil
	}
	if takesMatrix(g) {
		v := g.Inputs[0]
		if !v.HasShape || len(v.Dims) != 2 || v.Dims[1] < 1 {
			return nil, fmt.Errorf("input %s does not declare its number of features: list them in the manifest", v)
		}
		n := int(v.Dims[1])
		if n > manifest.MaxFeatures {
			return nil, fmt.Errorf("input %s takes %d features; at most %d are served", v, n, manifest.MaxFeatures)
		}
		width := len(fmt.Sprint(n - 1))
		features := make([]manifest.Feature, n)
		for j := range features {
			f, err := feature(fmt.Sprintf("f%0*d", width, j), v)
			if err != nil {
				return nil, err
			}
			features[j] = f
		}
		return features, nil
	}
	var features []manifest.Feature
	taken := map[string]bool{}
	for _, v := range g.Inputs {
		columns := 1
		if len(v.Dims) == 2 && v.Dims[1] > 1 {
			columns = int(min(v.Dims[1], manifest.MaxFeatures+1))
		}
		if len(features)+columns > manifest.MaxFeatures {
			return nil, fmt.Errorf("the graph's inputs take more than %d features, which is the most that is served", manifest.MaxFeatures)
		}
		for k := range columns {
			name := v.Name
			if columns > 1 {
				name = fmt.Sprintf("%s_%d", v.Name, k)
			}
			f, err := feature(name, v)
			if err != nil {
				return nil, err
			}
			if columns > 1 {
				f.Input = v.Name
			}
			if taken[name] {
				return nil, fmt.Errorf("two features of the inputs %s would be called %q: list the features in the manifest", list(g.Inputs), name)
			}
			taken[name] = true
			features = append(features, f)
		}
	}
	return features, nil
}

func find(values []graph.Value, name string) *graph.Value {
	for i := range values {
		if values[i].Name == name {
			return &values[i]
		}
	}
	return nil
}

func list(values []graph.Value) string {
	const most = 12
	var parts []string
	for i, v := range values {
		if i == most {
			parts = append(parts, "...")
			break
		}
		parts = append(parts, v.String())
	}
	return strings.Join(parts, ", ")
}
