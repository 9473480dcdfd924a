package onnx

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// wanted is what the score's output must look like.
type wanted struct {
	manifest.Output
	features int
	fixed    int      // rows per call; 0: any number
	classes  []string // the labels of the graph's classifier; nil: it has none
	zipped   []string // the outputs whose ZipMap is left out
}

func wantedBy(m *manifest.Manifest, features int, g *graph.Model) wanted {
	return wanted{Output: m.Output, features: features, fixed: int(max(firstDim(g), 0)), classes: g.Classes, zipped: g.Zipped}
}

func (b *binding) bindOutput(m *manifest.Manifest, g *graph.Model) error {
	if m.Output.Reconstruction != "" {
		if err := b.rebuildable(); err != nil {
			return err
		}
	}
	w := wantedBy(m, len(b.Features), g)
	w.fixed = b.Fixed
	for _, v := range g.Outputs {
		if v.Name != m.Output.Name {
			continue
		}
		if err := w.fits(v); err != nil {
			return err
		}
		b.Output, b.OutputF64 = v.Name, v.Elem == graph.Double
		if v.HasShape {
			b.OutputRank = len(v.Dims)
		}
		b.Reconstruction = m.Output.Reconstruction
		if m.Output.Column != nil {
			b.Columns, b.Column = true, *m.Output.Column
		}
		if b.wide() && len(v.Dims) == 2 && v.Dims[1] >= 0 {
			b.Width = int(v.Dims[1])
		}
		return nil
	}
	return fmt.Errorf("the manifest names output %q; the graph has %s", m.Output.Name, list(g.Outputs))
}

// rebuildable refuses inputs that no output can rebuild in the order of the features.
func (b *binding) rebuildable() error {
	if b.PerFeature {
		return errors.New("output.reconstruction (--reconstruction) needs a graph with one input for all features: with several, nothing says which column of the output rebuilds which feature")
	}
	for _, f := range b.Features {
		if f.DType != sdk.Float32 && f.DType != sdk.Float64 {
			return fmt.Errorf("output.reconstruction (--reconstruction) needs an input of float or double; feature %q is %s", f.Name, f.DType)
		}
	}
	return nil
}

// bindShape takes the shape that the output had for n rows.
func (b *binding) bindShape(shape []int64, n int) error {
	rows := len(shape) > 0 && shape[0] == int64(n)
	if !b.wide() {
		if rows && len(shape) == 2 && shape[1] > 1 {
			shown := graph.Value{Name: b.Output, Kind: "tensor", Elem: graph.Float, HasShape: true, Dims: []int64{-1, shape[1]}}
			return wanted{features: len(b.Features)}.several(shown)
		}
		if b.flattened(shape, n) {
			return fmt.Errorf("output %q has shape %v for %d rows: a value for each of the %d features, all of them in one column. If it rebuilds the row, %s", b.Output, shape, n, len(b.Features), leaveFlattening)
		}
		if !rows || len(shape) > 2 || len(shape) == 2 && shape[1] != 1 {
			return fmt.Errorf("output %q has shape %v for %d rows: it must be one score per row, [N] or [N,1]", b.Output, shape, n)
		}
		b.OutputRank = len(shape)
		return nil
	}
	switch {
	case !rows || len(shape) != 2 || b.Width != 0 && int64(b.Width) != shape[1]:
		return fmt.Errorf("output %q has shape %v for %d rows: it must be [N,columns], and as the graph declares it", b.Output, shape, n)
	case b.Columns && int64(b.Column) >= shape[1]:
		return fmt.Errorf("output %q has the columns 0 to %d; output.column (--column) is %d", b.Output, shape[1]-1, b.Column)
	case b.Reconstruction != "" && int64(len(b.Features)) != shape[1]:
		return fmt.Errorf("output %q has %d values per row, and does not rebuild the row's %d features", b.Output, shape[1], len(b.Features))
	}
	b.OutputRank, b.Width = 2, int(shape[1])
	return nil
}

// leaveFlattening says what to do about a graph that rebuilds rows, and puts the values of
// all rows into one column.
const leaveFlattening = "end the graph before the node that makes one column of it (docs/cookbook/autoencoder.md shows how) and ask for output.reconstruction (--reconstruction mse)"

// flattened reports whether an output has a value for each feature of each row, in one
// column, as skl2onnx writes a regressor of several targets.
func (b *binding) flattened(shape []int64, n int) bool {
	d := int64(len(b.Features))
	return d > 1 && len(shape) == 2 && shape[1] == 1 && shape[0] == int64(n)*d
}

// fits refuses an output that cannot hold the score.
func (w wanted) fits(v graph.Value) error {
	columns, rank := int64(-1), len(v.Dims)
	if rank == 2 {
		columns = v.Dims[1]
	}
	switch {
	case !v.IsTensor():
		return fmt.Errorf("output %s is not a tensor: %s", v, notTensorHint)
	case v.Elem != graph.Float && v.Elem != graph.Double:
		return fmt.Errorf("output %s is not a score: it must be float or double", v)
	case !v.HasShape:
		return nil
	case rank == 0 || rank > 2:
		return fmt.Errorf("output %s is not one score per row: its shape must be [N], [N,1] or [N,columns]", v)
	case v.Dims[0] >= 0 && int(v.Dims[0]) != w.fixed:
		return fmt.Errorf("output %s has %d scores for any number of rows", v, v.Dims[0])
	case w.Column != nil && rank == 1:
		return fmt.Errorf("output %s has one value per row: leave out output.column (--column)", v)
	case w.Column != nil && columns >= 0 && int64(*w.Column) >= columns:
		return fmt.Errorf("output %s has the columns 0 to %d; output.column (--column) is %d", v, columns-1, *w.Column)
	case w.Reconstruction != "" && columns == 1 && w.features > 1:
		return fmt.Errorf("output %s has one value per row, and rebuilding it takes %d. If the graph puts the values of all rows into one column, %s; if it does not rebuild the row, leave that out", v, w.features, leaveFlattening)
	case w.Reconstruction != "" && (rank == 1 || columns >= 0 && int(columns) != w.features):
		return fmt.Errorf("output %s does not rebuild the row's %d features: leave out output.reconstruction (--reconstruction)", v, w.features)
	case w.Column == nil && w.Reconstruction == "" && columns > 1:
		return w.several(v)
	}
	return nil
}

// several says what to do about an output with several values per row.
func (w wanted) several(v graph.Value) error {
	column := v.Dims[1] - 1
	take := fmt.Sprintf("take the column whose values are higher for anomalies, by output: {name: %s, column: %d} in model.yaml, or --output %[1]s --column %d of model init",
		v.Name, column, column)
	if slices.Contains(w.zipped, v.Name) {
		take = "its ZipMap is left out, as an export with zipmap=False does; " + take
	}
	if len(w.classes) == int(v.Dims[1]) {
		return fmt.Errorf("output %s has a value for each of the classes %s: %s, which take class %s", v, some(w.classes, ", "), take, w.classes[column])
	}
	rebuilt := fmt.Sprintf("take the error of the rebuilt row, by output: {name: %s, reconstruction: mse} in model.yaml, or --output %[1]s --reconstruction mse of model init", v.Name)
	if int(v.Dims[1]) == w.features {
		return fmt.Errorf("output %s has a value for each feature, not one score per row. If it rebuilds the row, %s; if not, %s", v, rebuilt, take)
	}
	return fmt.Errorf("output %s has %d values per row, not one score: %s", v, v.Dims[1], take)
}

// some joins the first texts of a list.
func some(texts []string, by string) string {
	const most = 10
	if len(texts) > most {
		return fmt.Sprintf("%s%sand %d more", strings.Join(texts[:most], by), by, len(texts)-most)
	}
	return strings.Join(texts, by)
}

const notTensorHint = "export the model with options zipmap=False"

// deriveOutput returns what the graph adds to the manifest's output, and to its
// threshold.
func deriveOutput(m *manifest.Manifest, w wanted, g *graph.Model) (d manifest.Derived, err error) {
	out := m.Output
	whole := out.Column == nil && out.Reconstruction == ""
	label, scores := find(g.Outputs, "label"), find(g.Outputs, "scores")
	outlier := whole && label != nil && scores != nil && label.Elem == graph.Int64
	switch {
	case out.Name != "":
		if m.Derived && !out.Directed {
			out.HigherIsNormal, out.Directed = directionOf(out)
			d.Output = &out
		}
		return d, nil
	case outlier && w.fits(*scores) == nil:
		// skl2onnx gives outlier detectors this output: decision_function.
		out.Name = scores.Name
		if m.Derived {
			if !out.Directed {
				out.HigherIsNormal, out.Directed = true, true
			}
			if m.Threshold == nil {
				d.Threshold = new(float64)
			}
		}
		d.Output = &out
		return d, nil
	}
	if out.Name, err = w.choose(g); err != nil {
		return d, err
	}
	d.Output = &out
	if m.Derived {
		if !out.Directed {
			out.HigherIsNormal, out.Directed = directionOf(out)
		}
		if m.Threshold == nil {
			d.Warnings = []string{warning(out)}
		}
	}
	return d, nil
}

// directionOf is direction for an output of which a part may be the score. Who takes a
// column takes the one whose values are higher for anomalies, and an error is higher
// for them.
func directionOf(out manifest.Output) (higherIsNormal, known bool) {
	if out.Reconstruction != "" {
		return false, true
	}
	higherIsNormal, known = direction(out.Name)
	return higherIsNormal, known || out.Column != nil
}

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

// choose returns the name of the only output that can be the score.
func (w wanted) choose(g *graph.Model) (string, error) {
	var candidates, tensors []graph.Value
	for _, v := range g.Outputs {
		if w.fits(v) == nil {
			candidates = append(candidates, v)
		}
		if v.IsTensor() && (v.Elem == graph.Float || v.Elem == graph.Double) {
			tensors = append(tensors, v)
		}
	}
	switch {
	case len(candidates) == 1:
		return candidates[0].Name, nil
	case len(candidates) > 1:
		return "", fmt.Errorf("several outputs may be the score (%s): name one in the manifest as output.name (--output of model init)", list(candidates))
	case len(g.Outputs) == 1:
		return "", w.fits(g.Outputs[0])
	case len(tensors) == 1:
		return "", w.fits(tensors[0]) // the others are labels and the like
	}
	for _, v := range g.Outputs {
		if !v.IsTensor() {
			return "", fmt.Errorf("no output is one score per row (%s): %s", list(g.Outputs), notTensorHint)
		}
	}
	return "", fmt.Errorf("no output is one score per row (%s): name one in the manifest as output.name, with output.column or output.reconstruction if it has several values per row", list(g.Outputs))
}
