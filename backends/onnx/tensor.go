//go:build cgo

package onnx

import (
	"errors"
	"fmt"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// tensors are the inputs of one call. Tensors of numbers share memory with the
// batch or with own, a copy that fill writes.
type tensors struct {
	values []ort.Value
	own    *sdk.Batch
}

// newTensors makes the inputs for batches with as many rows as in. If own is
// set, the tensors have their own memory and can be filled many times.
func newTensors(b *binding, in *sdk.Batch, own bool) (*tensors, error) {
	t := &tensors{}
	if own {
		t.own = sdk.NewBatch(in.Features())
		t.own.Resize(in.Rows())
		in = t.own
	}
	var err error
	if b.PerFeature {
		err = t.perFeature(b, in)
	} else {
		err = t.matrix(in)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making input tensors: %w", err), t.destroy())
	}
	return t, nil
}

func (t *tensors) add(v ort.Value, err error) error {
	if err == nil {
		t.values = append(t.values, v)
	}
	return err
}

func (t *tensors) matrix(in *sdk.Batch) error {
	shape := ort.NewShape(int64(in.Rows()), int64(len(in.Features())))
	switch in.Dense() {
	case sdk.Float32:
		v, err := ort.NewTensor(shape, in.Float32s())
		return t.add(v, err)
	case sdk.Float64:
		v, err := ort.NewTensor(shape, in.Float64s())
		return t.add(v, err)
	case sdk.Int64:
		v, err := ort.NewTensor(shape, in.Int64s())
		return t.add(v, err)
	}
	if in.Features()[0].DType == sdk.String {
		v, err := ort.NewStringTensor(shape)
		return t.add(v, err)
	}
	v, err := ort.NewEmptyTensor[bool](shape)
	return t.add(v, err)
}

func (t *tensors) perFeature(b *binding, in *sdk.Batch) error {
	shape := ort.NewShape(int64(in.Rows()), 1)[:b.Rank]
	if b.Groups != nil {
		return t.grouped(b, in.Rows())
	}
	for j, f := range in.Features() {
		var err error
		switch {
		case f.DType == sdk.String:
			var v *ort.StringTensor
			v, err = ort.NewStringTensor(shape)
			err = t.add(v, err)
		case in.Dense() != 0:
			err = t.strided(shape, f.DType)
		default:
			err = t.column(shape, in.Column(j))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// strided makes a tensor into which fill copies a column of a matrix.
func (t *tensors) strided(shape ort.Shape, dtype sdk.DType) error {
	switch dtype {
	case sdk.Float32:
		v, err := ort.NewEmptyTensor[float32](shape)
		return t.add(v, err)
	case sdk.Float64:
		v, err := ort.NewEmptyTensor[float64](shape)
		return t.add(v, err)
	default:
		v, err := ort.NewEmptyTensor[int64](shape)
		return t.add(v, err)
	}
}

func (t *tensors) column(shape ort.Shape, c *sdk.Column) error {
	switch c.DType {
	case sdk.Float32:
		v, err := ort.NewTensor(shape, c.Float32s)
		return t.add(v, err)
	case sdk.Float64:
		v, err := ort.NewTensor(shape, c.Float64s)
		return t.add(v, err)
	case sdk.Int64:
		v, err := ort.NewTensor(shape, c.Int64s)
		return t.add(v, err)
	default:
		v, err := ort.NewTensor(shape, c.Bools)
		return t.add(v, err)
	}
}

// fill copies the rows of in into the tensors.
func (t *tensors) fill(b *binding, in *sdk.Batch) error {
	if t.own != nil {
		for i := range in.Rows() {
			t.own.CopyRow(i, in, i)
		}
	}
	if !b.PerFeature {
		return t.fillMatrix(in)
	}
	if b.Groups != nil {
		return t.fillGroups(b, in)
	}
	d := len(b.Features)
	for j, f := range b.Features {
		switch v := t.values[j].(type) {
		case *ort.StringTensor:
			if err := v.SetContents(in.Column(j).Strings[:in.Rows()]); err != nil {
				return fmt.Errorf("filling input %q: %w", f.Name, err)
			}
		case *ort.Tensor[float32]:
			gather(v.GetData(), in.Float32s(), j, d)
		case *ort.Tensor[float64]:
			gather(v.GetData(), in.Float64s(), j, d)
		case *ort.Tensor[int64]:
			gather(v.GetData(), in.Int64s(), j, d)
		}
	}
	return nil
}

// gather copies column j of a dense matrix with d columns. It does nothing for
// a batch of columns, whose memory the tensors share.
func gather[T any](to, matrix []T, j, d int) {
	if matrix == nil {
		return
	}
	for i := range to {
		to[i] = matrix[i*d+j]
	}
}

// fillMatrix fills a single tensor of all features if they are strings or
// booleans, which a batch keeps by column.
func (t *tensors) fillMatrix(in *sdk.Batch) error {
	d, rows := len(in.Features()), in.Rows()
	switch v := t.values[0].(type) {
	case *ort.StringTensor:
		all := make([]string, rows*d)
		for j := range d {
			for i, s := range in.Column(j).Strings[:rows] {
				all[i*d+j] = s
			}
		}
		if err := v.SetContents(all); err != nil {
			return fmt.Errorf("filling the input: %w", err)
		}
	case *ort.Tensor[bool]:
		for j := range d {
			for i, x := range in.Column(j).Bools[:rows] {
				v.GetData()[i*d+j] = x
			}
		}
	}
	return nil
}

func (t *tensors) destroy() error {
	errs := make([]error, 0, len(t.values))
	for _, v := range t.values {
		errs = append(errs, v.Destroy())
	}
	t.values = nil
	return errors.Join(errs...)
}

// output is the tensor for the scores.
type output struct {
	values []ort.Value
	f32    []float32
	f64    []float64
}

func (s *scorer) newOutput(l *lane, rows int, own bool) (*output, error) {
	width := max(s.bind.Width, 1)
	shape := ort.NewShape(int64(rows), int64(width))[:s.bind.OutputRank]
	rows *= width
	o := &output{}
	var v ort.Value
	var err error
	if s.bind.OutputF64 {
		o.f64 = make([]float64, rows)
		v, err = ort.NewTensor(shape, o.f64)
	} else {
		if own {
			o.f32 = make([]float32, rows)
		} else {
			l.outF32 = grow(l.outF32, rows)
			o.f32 = l.outF32
		}
		v, err = ort.NewTensor(shape, o.f32)
	}
	if err != nil {
		return nil, fmt.Errorf("making the output tensor: %w", err)
	}
	o.values = []ort.Value{v}
	return o, nil
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

func (o *output) copy(out []float64) {
	if o.f64 != nil {
		copy(out, o.f64)
		return
	}
	for i, v := range o.f32 {
		out[i] = float64(v)
	}
}

func (o *output) destroy() error { return o.values[0].Destroy() }
