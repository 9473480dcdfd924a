package detectors

import "math"

// scaler standardises features as scikit-learn's StandardScaler does: constant ones
// are only moved. Those of categories stay as they are.
type scaler struct{ offset, factor []float32 }

func newScaler(r Rows) *scaler {
	s := &scaler{make([]float32, r.Features), make([]float32, r.Features)}
	n := float64(r.Len())
	for j, number := range r.numbers() {
		if s.factor[j] = 1; !number {
			continue
		}
		var mean, squares float64
		for i := range r.Len() {
			mean += float64(r.Row(i)[j])
		}
		mean /= n
		for i := range r.Len() {
			d := float64(r.Row(i)[j]) - mean
			squares += d * d
		}
		s.offset[j] = float32(mean)
		// Deviations that roundings explain are none.
		if deviation := math.Sqrt(squares / n); deviation > 1e-7*math.Abs(mean) {
			s.factor[j] = float32(1 / deviation)
		}
	}
	return s
}

// apply returns scaled rows, computed as ONNX's Scaler does.
func (s *scaler) apply(r Rows) Rows {
	out := Rows{Features: r.Features, Values: make([]float32, len(r.Values)), Columns: r.Columns}
	for i, v := range r.Values {
		j := i % r.Features
		out.Values[i] = float32(v-s.offset[j]) * s.factor[j]
	}
	return out
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
