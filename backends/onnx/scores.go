package onnx

import (
	"fmt"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

func (b *binding) bindOutput(m *manifest.Manifest, g *graph.Model) error {
	for _, v := range g.Outputs {
		if v.Name != m.Output.Name {
			continue
		}
		if err := scoreShape(v, b.Fixed); err != nil {
			return err
		}
		b.Output, b.OutputF64 = v.Name, v.Elem == graph.Double
		if v.HasShape {
			b.OutputRank = len(v.Dims)
		}
		return nil
	}
	return fmt.Errorf("the manifest names output %q; the graph has %s", m.Output.Name, list(g.Outputs))
}

// scoreShape refuses outputs that cannot hold one score per row.
func scoreShape(v graph.Value, fixed int) error {
	switch {
	case !v.IsTensor():
		return fmt.Errorf("output %s is not a tensor: %s", v, notTensorHint)
	case v.Elem != graph.Float && v.Elem != graph.Double:
		return fmt.Errorf("output %s is not a score: it must be float or double", v)
	case !v.HasShape:
		return nil
	case len(v.Dims) == 0 || len(v.Dims) > 2:
		return fmt.Errorf("output %s is not one score per row: its shape must be [N] or [N,1]", v)
	case len(v.Dims) == 2 && v.Dims[1] > 1:
		return fmt.Errorf("output %s has %d values per row: its shape must be [N] or [N,1]", v, v.Dims[1])
	case v.Dims[0] >= 0 && int(v.Dims[0]) != fixed:
		return fmt.Errorf("output %s has %d scores for any number of rows", v, v.Dims[0])
	}
	return nil
}

const notTensorHint = "export the model with options zipmap=False"

// warning says what is not known of a bare file with the given output.
func warning(out manifest.Output) string {
	assumed := fmt.Sprintf("the output's name, %q, does not say which scores are anomalous, so higher ones are assumed to be", out.Name)
	switch {
	case out.HigherIsNormal:
		assumed = fmt.Sprintf("lower scores are more anomalous, as the output's name, %q, says", out.Name)
	case out.Directed:
		assumed = fmt.Sprintf("higher scores are more anomalous, as the output's name, %q, says", out.Name)
	}
	return "there is no threshold, so no row is an anomaly, and " + assumed + ": write a manifest with `pynomaly-runtime model init`"
}

// scoreOutput returns the name of the only output that can be the score.
func scoreOutput(g *graph.Model) (string, error) {
	var candidates []graph.Value
	for _, v := range g.Outputs {
		if scoreShape(v, int(max(firstDim(g), 0))) == nil {
			candidates = append(candidates, v)
		}
	}
	switch {
	case len(candidates) == 1:
		return candidates[0].Name, nil
	case len(candidates) > 1:
		return "", fmt.Errorf("several outputs may be the score (%s): name one in the manifest as output.name", list(candidates))
	case len(g.Outputs) == 1:
		return "", scoreShape(g.Outputs[0], int(max(firstDim(g), 0)))
	}
	for _, v := range g.Outputs {
		if !v.IsTensor() {
			return "", fmt.Errorf("no output is one score per row (%s): %s", list(g.Outputs), notTensorHint)
		}
	}
	return "", fmt.Errorf("no output is one score per row: %s", list(g.Outputs))
}
