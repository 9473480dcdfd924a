// Package hbos is the detector HBOS: histogram-based outlier scores (Goldstein and
// Dengel 2012), with PyOD's smoothing and treatment of values out of range.
//
// A value belongs to the bin in which numpy.histogram counts it: the bin whose left
// edge is the value, or the last bin for the largest training value. PyOD counts the
// same way but looks values up in bins that are closed on the right, so that a value
// on an edge gets its neighbour's score. With CompatPyOD this package does the same.
package hbos

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sort"

	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

// Algorithm names the detector.
const Algorithm = "HBOS"

// File is the name of the file that Fit writes and the detector reads.
const File = "histograms.json"

// Smoothing is added to a density before the logarithm. Tolerance is how far beyond
// the histogram a value may lie to count for its outer bin, in bin widths.
const (
	Smoothing = 0.1
	Tolerance = 0.5
)

// CompatPyOD is the value of "compat", in the detector's file or in its config, that
// gives PyOD's scores.
const CompatPyOD = "pyod"

// histogram is the histogram of one feature.
type histogram struct {
	Edges   []float64 `json:"edges"`
	Density []float64 `json:"density"`

	terms []float64 // -log2(density + smoothing)
	rare  float64   // the largest of terms
}

type model struct {
	Compat    string      `json:"compat,omitempty"` // empty or CompatPyOD
	Smoothing float64     `json:"smoothing"`
	Tolerance float64     `json:"tolerance"`
	Features  []histogram `json:"features"`
}

// New returns the detector. A row's score is the sum over its features of
// -log2(density + smoothing). The terms are the score's explanation.
func New() wasm.Detector {
	m := &model{}
	return wasm.Detector{
		Describe: func() wasm.Description {
			return wasm.Description{Name: "hbos", Version: "1.0.0", Algorithm: Algorithm, DType: "float64"}
		},
		Init:    m.init,
		Score:   m.score,
		Explain: m.explain,
	}
}

func (m *model) init(s wasm.Setup) error {
	*m = model{}
	if err := json.Unmarshal(s.Files[File], m); err != nil {
		return fmt.Errorf("%w: %s: %w", fit.ErrFile, File, err)
	}
	if len(s.Config) > 0 {
		var config struct{ Compat *string }
		if err := json.Unmarshal(s.Config, &config); err != nil {
			return fmt.Errorf("reading the config: %w", err)
		}
		if config.Compat != nil {
			m.Compat = *config.Compat
		}
	}
	if err := checkCompat(m.Compat); err != nil {
		return err
	}
	if len(m.Features) != len(s.Features) {
		return fmt.Errorf("%w: %s has %d histograms for %d features", fit.ErrFile, File, len(m.Features), len(s.Features))
	}
	for j := range m.Features {
		if err := m.Features[j].prepare(m.Smoothing); err != nil {
			return fmt.Errorf("%w: %s: feature %d: %w", fit.ErrFile, File, j, err)
		}
	}
	return nil
}

func checkCompat(compat string) error {
	if compat != "" && compat != CompatPyOD {
		return fmt.Errorf("compat is %.40q; it must be %s or absent", compat, CompatPyOD)
	}
	return nil
}

func (h *histogram) prepare(smoothing float64) error {
	if len(h.Density) < 1 || len(h.Edges) != len(h.Density)+1 || !sort.Float64sAreSorted(h.Edges) {
		return errors.New("a histogram must have one more edge than bins, in ascending order")
	}
	h.rare = math.Inf(-1)
	for _, d := range h.Density {
		if d < 0 || !(d+smoothing > 0) {
			return errors.New("densities must not be negative, and smoothing must be above 0")
		}
		term := -math.Log2(d + smoothing)
		h.terms, h.rare = append(h.terms, term), max(h.rare, term)
	}
	return nil
}

// term returns a value's share of a row's score.
func (m *model) term(j int, x float64) float64 {
	h := &m.Features[j]
	last := len(h.Edges) - 1
	switch {
	case math.IsNaN(x):
		return x
	case x < h.Edges[0]:
		if h.Edges[0]-x > (h.Edges[1]-h.Edges[0])*m.Tolerance {
			return h.rare
		}
		return h.terms[0]
	case x > h.Edges[last]:
		if x-h.Edges[last] > (h.Edges[last]-h.Edges[last-1])*m.Tolerance {
			return h.rare
		}
		return h.terms[last-1]
	case m.Compat == CompatPyOD:
		return h.terms[max(0, sort.SearchFloat64s(h.Edges, x)-1)]
	}
	return h.terms[h.bin(x)]
}

// bin returns the bin of a value within the edges, as numpy.histogram counts it: the
// last one whose left edge is not above the value.
func (h *histogram) bin(x float64) int {
	n := len(h.Density)
	return min(sort.Search(n, func(i int) bool { return h.Edges[i+1] > x }), n-1)
}

func (m *model) score(in wasm.Matrix, out []float64) error {
	if in.Cols != len(m.Features) {
		return fmt.Errorf("rows have %d columns, not %d", in.Cols, len(m.Features))
	}
	for i := range in.Rows {
		sum := 0.0
		for j, x := range in.Float64s[i*in.Cols : (i+1)*in.Cols] {
			sum += m.term(j, x)
		}
		out[i] = sum
	}
	return nil
}

func (m *model) explain(in wasm.Matrix, out []float64) error {
	if in.Cols != len(m.Features) {
		return fmt.Errorf("rows have %d columns, not %d", in.Cols, len(m.Features))
	}
	for i := range in.Rows {
		row := out[i*(1+in.Cols) : (i+1)*(1+in.Cols)]
		row[0] = 0
		for j, x := range in.Float64s[i*in.Cols : (i+1)*in.Cols] {
			row[1+j] = m.term(j, x)
		}
	}
	return nil
}

// Fit makes a histogram of every column, with bins of equal width.
func Fit(d fit.Data, o fit.Options) (fit.Result, error) {
	if err := d.Check(); err != nil {
		return fit.Result{}, err
	}
	if o.Bins < 1 || o.Bins > 10000 {
		return fit.Result{}, fmt.Errorf("%d bins are not between 1 and 10000", o.Bins)
	}
	if err := checkCompat(o.Compat); err != nil {
		return fit.Result{}, err
	}
	m := model{Compat: o.Compat, Smoothing: Smoothing, Tolerance: Tolerance}
	for j := range d.Cols {
		h, err := bins(d.Column(j), o.Bins)
		if err != nil {
			return fit.Result{}, fmt.Errorf("column %d: %w", j+1, err)
		}
		m.Features = append(m.Features, h)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return fit.Result{}, fmt.Errorf("writing %s: %w", File, err)
	}
	return fit.Result{Files: map[string][]byte{File: append(text, '\n')}}, nil
}

// bins counts as numpy.histogram does. For a column with a single value, the bins
// cover half a unit on both sides of it. If the value is so large that adding half a
// unit changes nothing, the bins are wider, with the densities of a unit.
func bins(values []float64, n int) (histogram, error) {
	low, high := values[0], values[0]
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	unit := 1.0 // in which widths are measured
	if low == high {
		half := max(0.5, math.Abs(low)*0x1p-30)
		low, high, unit = low-half, high+half, 2*half
	}
	h := histogram{Edges: make([]float64, n+1), Density: make([]float64, n)}
	step := (high - low) / float64(n)
	if math.IsInf(step, 0) || math.IsInf(1/step, 0) || low+step == low || high-step == high {
		return histogram{}, fmt.Errorf("%d bins between %v and %v cannot be distinguished: scale the column", n, low, high)
	}
	for i := range h.Edges {
		h.Edges[i] = float64(float64(i)*step) + low // not fused, so that every machine computes the same edges
	}
	h.Edges[n] = high
	for _, v := range values {
		h.Density[h.bin(v)]++
	}
	for i := range h.Density {
		h.Density[i] /= (h.Edges[i+1] - h.Edges[i]) / unit
		h.Density[i] /= float64(len(values))
	}
	return h, nil
}
