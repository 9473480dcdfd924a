package manifest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Derived is what an artifact says about values that a manifest may leave out. Empty
// fields add nothing.
type Derived struct {
	Features  []Feature // all of them, with their types
	Input     string
	Output    *Output
	Threshold *float64
	Algorithm string
	Stateful  bool
	// MaxBatchRows is the largest call that fits limits.memory, of a manifest that
	// does not say limits.max_batch_rows.
	MaxBatchRows int
	Warnings     []string
}

// With returns a copy of the manifest that has the values of d's nonempty fields.
func (m *Manifest) With(d Derived) *Manifest {
	out := m.Clone()
	if len(d.Features) > 0 {
		out.Features = slices.Clone(d.Features)
		out.typeReference()
	}
	if d.Input != "" {
		out.Input = d.Input
	}
	if d.Output != nil {
		out.Output = *d.Output
	}
	if d.Threshold != nil {
		out.Threshold = clone(d.Threshold)
	}
	if d.Algorithm != "" {
		out.Algorithm = d.Algorithm
	}
	if d.MaxBatchRows > 0 {
		out.Limits.MaxBatchRows = d.MaxBatchRows
	}
	out.Stateful = out.Stateful || d.Stateful
	out.Warnings = append(out.Warnings, d.Warnings...)
	return out
}

// Clone returns a copy that may be changed. It shares only the values inside Config
// and Metadata with m.
func (m *Manifest) Clone() *Manifest {
	out := *m
	out.Files, out.Config, out.Metadata = maps.Clone(m.Files), maps.Clone(m.Config), maps.Clone(m.Metadata)
	out.Command, out.Features, out.Warnings = slices.Clone(m.Command), slices.Clone(m.Features), slices.Clone(m.Warnings)
	out.Output.Column = clone(m.Output.Column)
	out.Threshold, out.Confidence, out.Golden = clone(m.Threshold), clone(m.Confidence), clone(m.Golden)
	if out.Calibration = clone(m.Calibration); out.Calibration != nil {
		for _, figure := range []**float64{&out.Calibration.Min, &out.Calibration.Max, &out.Calibration.Mean, &out.Calibration.Std} {
			*figure = clone(*figure)
		}
	}
	if out.Explanation = clone(m.Explanation); out.Explanation != nil {
		out.Explanation.Reference = maps.Clone(out.Explanation.Reference)
	}
	return &out
}

// Typed returns the features with the types that dtype returns for those that have
// none.
func (m *Manifest) Typed(dtype func(Feature) (sdk.DType, error)) (_ []Feature, err error) {
	out := slices.Clone(m.Features)
	for i := range out {
		f := &out[i]
		if f.DType != 0 {
			continue
		}
		if f.DType, err = dtype(*f); err != nil {
			return nil, err
		}
		given := f.Missing.Policy != MissingIsError
		value := f.Missing.Value
		if f.Missing.Policy == MissingIsNaN {
			value = "nan"
		}
		if f.Missing, err = missing(value, f.DType, given); err != nil {
			return nil, fmt.Errorf("features[%d].missing %w", i, err)
		}
	}
	return out, nil
}

// typeReference converts the values of the reference row that were read before the
// types of their features were known. Values that do not fit stay: the model refuses
// them.
func (m *Manifest) typeReference() {
	if m.Explanation == nil {
		return
	}
	for _, f := range m.Features {
		if value, err := Convert(m.Explanation.Reference[f.Name], f.DType); err == nil {
			m.Explanation.Reference[f.Name] = value
		}
	}
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
