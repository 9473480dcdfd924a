package detectors

import (
	"math"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
)

// scaler standardises features as scikit-learn's StandardScaler does: constant ones
// are only moved.
type scaler struct{ offset, factor []float32 }

func newScaler(r Rows) *scaler {
	s := &scaler{make([]float32, r.Features), make([]float32, r.Features)}
	n := float64(r.Len())
	for j := range r.Features {
		var mean, squares float64
		for i := range r.Len() {
			mean += float64(r.Row(i)[j])
		}
		mean /= n
		for i := range r.Len() {
			d := float64(r.Row(i)[j]) - mean
			squares += d * d
		}
		s.offset[j], s.factor[j] = float32(mean), 1
		// Deviations that roundings explain are none.
		if deviation := math.Sqrt(squares / n); deviation > 1e-7*math.Abs(mean) {
			s.factor[j] = float32(1 / deviation)
		}
	}
	return s
}

// apply returns scaled rows, computed as ONNX's Scaler does.
func (s *scaler) apply(r Rows) Rows {
	out := Rows{Features: r.Features, Values: make([]float32, len(r.Values))}
	for i, v := range r.Values {
		j := i % r.Features
		out.Values[i] = float32(v-s.offset[j]) * s.factor[j]
	}
	return out
}

// begin begins a graph and returns the name of the rows that the detector sees.
func begin(name string, features int, s *scaler) (b *graph.Builder, rows string) {
	b = graph.NewBuilder(name)
	b.Input(Input, graph.Float, -1, int64(features))
	if s == nil {
		return b, Input
	}
	b.NodeML("Scaler", []string{Input}, []string{"scaled"}, graph.Attribute{Name: "offset", Value: s.offset}, graph.Attribute{Name: "scale", Value: s.factor})
	return b, "scaled"
}

// prepare checks training rows and scales them if asked to.
func prepare(r Rows, o Options) (Rows, *scaler, error) {
	if err := r.check(); err != nil {
		return r, nil, err
	}
	if !o.Scale {
		return r, nil, nil
	}
	s := newScaler(r)
	return s.apply(r), s, nil
}
