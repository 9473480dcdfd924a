//go:build cgo

package onnx

import (
	"fmt"
	"math"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// reduce writes the scores of the rows of in, for which the output has several values
// each.
func (o *output) reduce(b *binding, in *sdk.Batch, out []float64) {
	switch {
	case b.Columns && o.f64 != nil:
		pick(out, o.f64, b.Width, b.Column)
	case b.Columns:
		pick(out, o.f32, b.Width, b.Column)
	case o.f64 != nil && in.Dense() == sdk.Float64:
		rebuild(out, in.Float64s(), o.f64, b)
	case o.f64 != nil:
		rebuild(out, in.Float32s(), o.f64, b)
	case in.Dense() == sdk.Float64:
		rebuild(out, in.Float64s(), o.f32, b)
	default:
		rebuild(out, in.Float32s(), o.f32, b)
	}
}

func pick[T float32 | float64](out []float64, values []T, width, column int) {
	for i := range out {
		out[i] = float64(values[i*width+column])
	}
}

// rebuild computes the mean difference of each row and its rebuilt values. It adds in
// the order of the features, so that a row's score does not depend on its place.
func rebuild[X, Y float32 | float64](out []float64, rows []X, rebuilt []Y, b *binding) {
	d := len(b.Features)
	absolute := b.Reconstruction == manifest.ReconstructionMAE
	for i := range out {
		sum := 0.0
		for j := i * d; j < (i+1)*d; j++ {
			by := float64(rebuilt[j]) - float64(rows[j])
			if absolute {
				sum += math.Abs(by)
			} else {
				sum += float64(by * by) // the conversion keeps it from being fused with the addition
			}
		}
		out[i] = sum / float64(d)
	}
}

// grouped makes the tensors of inputs that take one or several features each.
func (t *tensors) grouped(b *binding, rows int) error {
	for _, group := range b.Groups {
		shape := ort.NewShape(int64(rows), int64(len(group)))[:b.Rank]
		var err error
		switch b.Features[group[0]].DType {
		case sdk.String:
			var v *ort.StringTensor
			v, err = ort.NewStringTensor(shape)
			err = t.add(v, err)
		case sdk.Bool:
			var v *ort.Tensor[bool]
			v, err = ort.NewEmptyTensor[bool](shape)
			err = t.add(v, err)
		default:
			err = t.strided(shape, b.Features[group[0]].DType)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fillGroups copies the rows of in into the tensors that grouped made.
func (t *tensors) fillGroups(b *binding, in *sdk.Batch) error {
	rows, d := in.Rows(), len(b.Features)
	for k, group := range b.Groups {
		switch v := t.values[k].(type) {
		case *ort.StringTensor:
			all := make([]string, rows*len(group))
			for at, j := range group {
				scatter(all, in.Column(j).Strings[:rows], at, len(group))
			}
			if err := v.SetContents(all); err != nil {
				return fmt.Errorf("filling input %q: %w", b.Inputs[k], err)
			}
		case *ort.Tensor[bool]:
			for at, j := range group {
				scatter(v.GetData(), in.Column(j).Bools[:rows], at, len(group))
			}
		case *ort.Tensor[float32]:
			fillGroup(v.GetData(), group, rows, d, in.Float32s(), func(j int) []float32 { return in.Column(j).Float32s })
		case *ort.Tensor[float64]:
			fillGroup(v.GetData(), group, rows, d, in.Float64s(), func(j int) []float64 { return in.Column(j).Float64s })
		case *ort.Tensor[int64]:
			fillGroup(v.GetData(), group, rows, d, in.Int64s(), func(j int) []int64 { return in.Column(j).Int64s })
		}
	}
	return nil
}

// fillGroup copies features from a matrix with d columns, or from columns if there is
// none.
func fillGroup[T any](to []T, group []int, rows, d int, matrix []T, column func(j int) []T) {
	for at, j := range group {
		if matrix == nil {
			scatter(to, column(j)[:rows], at, len(group))
			continue
		}
		for i := range rows {
			to[i*len(group)+at] = matrix[i*d+j]
		}
	}
}

// scatter copies a column into a matrix with a number of columns.
func scatter[T any](matrix, column []T, at, columns int) {
	for i, v := range column {
		matrix[i*columns+at] = v
	}
}
