package manifest

import (
	"maps"
	"slices"
)

// Derived is what an artifact adds to a manifest that leaves it out. What is empty adds
// nothing.
type Derived struct {
	Features  []Feature
	Input     string
	Output    *Output
	Threshold *float64
	Algorithm string
	Stateful  bool
	Warnings  []string
}

// With returns the manifest with what an artifact adds to it. The manifest itself stays
// as it is.
func (m *Manifest) With(d Derived) *Manifest {
	out := m.Clone()
	if len(d.Features) > 0 {
		out.Features = slices.Clone(d.Features)
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
	out.Stateful = out.Stateful || d.Stateful
	out.Warnings = append(out.Warnings, d.Warnings...)
	return out
}

// Clone returns a copy that may be changed: it shares nothing that can be reached by its
// fields, but for the values inside Config and Metadata.
func (m *Manifest) Clone() *Manifest {
	out := *m
	out.Files, out.Config, out.Metadata = maps.Clone(m.Files), maps.Clone(m.Config), maps.Clone(m.Metadata)
	out.Command, out.Features, out.Warnings = slices.Clone(m.Command), slices.Clone(m.Features), slices.Clone(m.Warnings)
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

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
