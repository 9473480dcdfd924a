// Command detector is a plugin with the detector ECOD (Li et al. 2022). A row's
// score is the sum over the features of how far out the value lies in the tails
// of the training values.
//
// The training values are the model's file train.f64: little-endian float64,
// column after column, rows in training order.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

// ecod is an initialised detector.
type ecod struct {
	columns []column
	logs    []float64 // -ln((count + 1) / (n + 1)), indexed by count
}

// column holds the training values of one feature.
type column struct {
	train, sorted []float64
	mean, m2, m3  float64 // mean, and sums of the squares and cubes of the distances from it
}

func newECOD() wasm.Detector {
	e := &ecod{}
	return wasm.Detector{
		Describe: func() wasm.Description {
			return wasm.Description{Name: "ecod", Version: "1.0.0", Algorithm: "ECOD", DType: "float64"}
		},
		Init:    e.init,
		Score:   e.score,
		Explain: e.explain,
	}
}

func (e *ecod) init(s wasm.Setup) error {
	data, ok := s.Files["train.f64"]
	d := len(s.Features)
	switch {
	case !ok:
		return errors.New("the model has no file train.f64")
	case d == 0:
		return errors.New("the model has no features")
	case len(data)%(8*d) != 0:
		return fmt.Errorf("train.f64 has %d bytes, not a multiple of 8 for each of %d features", len(data), d)
	case len(data) < 2*8*d:
		return fmt.Errorf("train.f64 has %d rows; at least 2 are needed", len(data)/(8*d))
	}
	n := len(data) / (8 * d)
	e.columns, e.logs = make([]column, d), make([]float64, n+1)
	for k := range e.logs {
		e.logs[k] = -math.Log(float64(k+1) / float64(n+1))
	}
	for j := range e.columns {
		train := make([]float64, n)
		for i := range train {
			train[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[8*(j*n+i):]))
			if math.IsNaN(train[i]) || math.IsInf(train[i], 0) {
				return fmt.Errorf("train.f64: row %d of feature %d is not finite", i, j)
			}
		}
		e.columns[j] = newColumn(train)
	}
	return nil
}

func newColumn(train []float64) column {
	c := column{train: train, sorted: slices.Clone(train)}
	slices.Sort(c.sorted)
	for _, v := range train {
		c.mean += v
	}
	c.mean /= float64(len(train))
	for _, v := range train {
		off := v - c.mean
		c.m2 += off * off
		c.m3 += off * off * off
	}
	return c
}

func (e *ecod) score(in wasm.Matrix, out []float64) error {
	if in.Cols != len(e.columns) {
		return fmt.Errorf("a row has %d values, not %d", in.Cols, len(e.columns))
	}
	for i := range in.Rows {
		out[i] = 0
		for j := range e.columns {
			out[i] += e.term(j, in.Float64s[i*in.Cols+j])
		}
	}
	return nil
}

func (e *ecod) explain(in wasm.Matrix, out []float64) error {
	if in.Cols != len(e.columns) {
		return fmt.Errorf("a row has %d values, not %d", in.Cols, len(e.columns))
	}
	for i := range in.Rows {
		row := out[i*(1+in.Cols):]
		row[0] = 0 // the base value
		for j := range e.columns {
			row[1+j] = e.term(j, in.Float64s[i*in.Cols+j])
		}
	}
	return nil
}

// term returns a feature's part of the score: the larger of the two tails'
// terms. If the training values with x have no skewness, it returns the sum of
// both.
func (e *ecod) term(j int, x float64) float64 {
	if math.IsNaN(x) {
		return x
	}
	c := &e.columns[j]
	below, _ := slices.BinarySearch(c.sorted, x)
	upTo, _ := slices.BinarySearch(c.sorted, math.Nextafter(x, math.Inf(1)))
	if math.IsInf(x, 1) {
		upTo = len(c.sorted)
	}
	left, right := e.logs[upTo], e.logs[len(c.sorted)-below]
	if c.symmetric(x) {
		return left + right
	}
	return max(left, right)
}

// symmetric reports whether the skewness of the training values with x is zero.
func (c *column) symmetric(x float64) bool {
	n := float64(len(c.train))
	all, off := n+1, x-c.mean
	m2 := c.m2 + off*off*n/all
	m3 := c.m3 + off*off*off*n*(n-1)/(all*all) - 3*off*c.m2/all
	if math.Abs(m3) > 1e-9*m2*math.Sqrt(m2/all) {
		return false // not zero, whatever the rounding
	}
	// Add as NumPy and SciPy do, so that the skewness is zero where theirs is.
	mean := 0.0
	for _, v := range c.train {
		mean += v
	}
	mean = (mean + x) / all
	m2, m3 = 0, 0
	for i := range len(c.train) + 1 {
		off := x - mean
		if i < len(c.train) {
			off = c.train[i] - mean
		}
		m2 += off * off
		m3 += off * off * off
	}
	least := 1e-15 * mean
	return m2/all <= least*least || m3 == 0 || math.IsNaN(m3)
}
