package onnx

import (
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
	Rank       int // of all inputs: 1 or 2
	Fixed      int // rows per call; 0: any number
	Output     string
	OutputF64  bool
	OutputRank int // 1 or 2; 0: unknown
}

// elems maps the supported input types.
var elems = map[graph.ElemType]sdk.DType{
	graph.Float: sdk.Float32, graph.Double: sdk.Float64, graph.Int64: sdk.Int64, graph.String: sdk.String, graph.Bool: sdk.Bool,
}

// bindGraph matches a complete manifest with the graph.
func bindGraph(m *manifest.Manifest, g *graph.Model) (*binding, error) {
	b := &binding{Features: m.SDKFeatures(), Rank: 2}
	if err := b.bindInputs(m, g); err != nil {
		return nil, err
	}
	return b, b.bindOutput(m, g)
}

func (b *binding) bindInputs(m *manifest.Manifest, g *graph.Model) error {
	if len(g.Inputs) == 0 {
		return errors.New("the graph has no input")
	}
	if len(g.Inputs) == 1 && (m.Input == "" || m.Input == g.Inputs[0].Name) && !isColumn(g.Inputs[0], m) {
		return b.bindTensor(g.Inputs[0])
	}
	if m.Input != "" {
		return fmt.Errorf("the manifest names input %q; the graph has %s", m.Input, list(g.Inputs))
	}
	b.PerFeature = true
	if len(g.Inputs) != len(b.Features) {
		return fmt.Errorf("the manifest has %d features; the graph has %d inputs: %s", len(b.Features), len(g.Inputs), list(g.Inputs))
	}
	byName := map[string]graph.Value{}
	for _, v := range g.Inputs {
		byName[v.Name] = v
	}
	for k, f := range b.Features {
		v, ok := byName[f.Name]
		if !ok {
			return fmt.Errorf("feature %q is no input of the graph, which has %s", f.Name, list(g.Inputs))
		}
		if err := matches(f, v); err != nil {
			return err
		}
		if !isVector(v) {
			return fmt.Errorf("input %s must be [N,1] or [N] to take one feature", v)
		}
		rank, fixed := len(v.Dims), int(max(v.Dims[0], 0))
		if k > 0 && (rank != b.Rank || fixed != b.Fixed) {
			return fmt.Errorf("inputs differ in shape: %s", list(g.Inputs))
		}
		b.Rank, b.Fixed = rank, fixed
		b.Inputs = append(b.Inputs, f.Name)
	}
	return nil
}

// isColumn reports whether the graph's only input v has the name of the model's only
// feature and takes one number per row.
func isColumn(v graph.Value, m *manifest.Manifest) bool {
	return len(m.Features) == 1 && m.Features[0].Name == v.Name && isVector(v)
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
	for _, f := range b.Features {
		if err := matches(f, v); err != nil {
			return err
		}
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
func derive(m *manifest.Manifest, g *graph.Model) (d manifest.Derived, err error) {
	if len(m.Features) == 0 {
		if d.Features, err = deriveFeatures(g); err != nil {
			return d, err
		}
		if m.Input == "" && takesMatrix(g) {
			d.Input = g.Inputs[0].Name
		}
	}
	if m.Output.Name != "" {
		if m.Derived && !m.Output.Directed {
			out := m.Output
			out.HigherIsNormal, out.Directed = direction(out.Name)
			d.Output = &out
		}
		return d, nil
	}
	out := m.Output
	if label, scores := find(g.Outputs, "label"), find(g.Outputs, "scores"); label != nil && scores != nil && label.Elem == graph.Int64 {
		// skl2onnx gives outlier detectors this output: decision_function.
		out.Name = scores.Name
		if m.Derived {
			if !out.Directed {
				out.HigherIsNormal, out.Directed = true, true
			}
			d.Threshold = new(float64)
		}
		d.Output = &out
		return d, nil
	}
	if out.Name, err = scoreOutput(g); err != nil {
		return d, err
	}
	d.Output = &out
	if m.Derived {
		known := out.Directed
		if !known {
			out.HigherIsNormal, known = direction(out.Name)
			out.Directed = known
		}
		d.Warnings = []string{warning(out)}
	}
	return d, nil
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
	for _, v := range g.Inputs {
		f, err := feature(v.Name, v)
		if err != nil {
			return nil, err
		}
		features = append(features, f)
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
