// Package tails is the common part of ECOD and COPOD: it computes how far out a
// value lies in the tails of its column's training values. The detectors decide how
// the two tails make a score.
package tails

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

// Combine returns a column's term from the surprise of its left tail, of its right
// tail, and of the tail to which its skewness points, all in nats.
type Combine func(left, right, skewed float64) float64

// Detector returns a detector whose score is the sum of its columns' terms. The
// terms are the score's explanation.
//
// A column's tails are those of the n training values and the value x itself:
// left = -ln(share of values <= x), right = -ln(share of values >= x). Skewed is left
// if the skewness of these n + 1 values is negative, right if it is positive, and
// their sum if it is zero or undefined. PyOD computes the same for a batch of one row.
func Detector(description wasm.Description, combine Combine) wasm.Detector {
	t := &table{combine: combine}
	return wasm.Detector{
		Describe: func() wasm.Description { return description },
		Init:     t.init,
		Score:    t.score,
		Explain:  t.explain,
	}
}

// Fit keeps the training rows, in which the tails are counted.
func Fit(d fit.Data, _ fit.Options) (fit.Result, error) {
	if err := d.Check(); err != nil {
		return fit.Result{}, err
	}
	return fit.Result{Files: map[string][]byte{fit.TrainFile: fit.Columns(d)}}, nil
}

// table is a fitted detector.
type table struct {
	combine Combine
	columns []column
	logs    []float64 // logs[k] = -ln((k + 1) / (n + 1))
}

func (t *table) init(s wasm.Setup) error {
	if len(s.Config) > 0 {
		var config map[string]any
		if err := json.Unmarshal(s.Config, &config); err != nil {
			return fmt.Errorf("reading config: %w", err)
		}
		for key := range config {
			return fmt.Errorf("config.%s is unknown: this detector has no settings", key)
		}
	}
	values, err := fit.ParseColumns(s.Files[fit.TrainFile], len(s.Features))
	if err != nil {
		return err
	}
	n := len(values[0])
	t.logs = make([]float64, n+1)
	for k := range t.logs {
		t.logs[k] = -math.Log(float64(k+1) / float64(n+1))
	}
	t.columns = make([]column, len(values))
	for j, v := range values {
		t.columns[j] = newColumn(v)
	}
	return nil
}

func (t *table) score(in wasm.Matrix, out []float64) error {
	if in.Cols != len(t.columns) {
		return fmt.Errorf("rows have %d columns, not %d", in.Cols, len(t.columns))
	}
	for i := range in.Rows {
		sum := 0.0
		for j, x := range in.Float64s[i*in.Cols : (i+1)*in.Cols] {
			sum += t.term(j, x)
		}
		out[i] = sum
	}
	return nil
}

func (t *table) explain(in wasm.Matrix, out []float64) error {
	if in.Cols != len(t.columns) {
		return fmt.Errorf("rows have %d columns, not %d", in.Cols, len(t.columns))
	}
	for i := range in.Rows {
		row := out[i*(1+in.Cols) : (i+1)*(1+in.Cols)]
		row[0] = 0
		for j, x := range in.Float64s[i*in.Cols : (i+1)*in.Cols] {
			row[1+j] = t.term(j, x)
		}
	}
	return nil
}

// term returns a column's part of the score. It is NaN if x is.
func (t *table) term(j int, x float64) float64 {
	if math.IsNaN(x) {
		return x
	}
	c := &t.columns[j]
	left := t.logs[c.atMost(x)]
	right := t.logs[c.atLeast(x)]
	switch c.skew(x) {
	case -1:
		return t.combine(left, right, left)
	case 1:
		return t.combine(left, right, right)
	}
	return t.combine(left, right, left+right)
}

// column holds the training values of one feature.
type column struct {
	values, sorted   []float64
	mean, sum2, sum3 float64 // mean, and sums of squares and cubes of the distances from it
}

func newColumn(values []float64) column {
	c := column{values: values, sorted: slices.Clone(values)}
	slices.Sort(c.sorted)
	for _, v := range values {
		c.mean += v
	}
	c.mean /= float64(len(values))
	for _, v := range values {
		d := v - c.mean
		c.sum2 += d * d
		c.sum3 += d * d * d
	}
	return c
}

// atMost counts the training values <= x.
func (c *column) atMost(x float64) int {
	at, n := 0, len(c.sorted)
	for n > 0 {
		half := n / 2
		if c.sorted[at+half] <= x {
			at += half + 1
			n -= half + 1
		} else {
			n = half
		}
	}
	return at
}

// atLeast counts the training values >= x.
func (c *column) atLeast(x float64) int {
	at, n := 0, len(c.sorted)
	for n > 0 {
		half := n / 2
		if c.sorted[at+half] < x {
			at += half + 1
			n -= half + 1
		} else {
			n = half
		}
	}
	return len(c.sorted) - at
}

// skew returns the sign of the skewness of the training values and x together.
func (c *column) skew(x float64) int {
	n := float64(len(c.values))
	all := n + 1
	d := x - c.mean
	sum2 := c.sum2 + d*d*n/all
	sum3 := c.sum3 + d*d*d*n*(n-1)/(all*all) - 3*d*c.sum2/all
	// Below this, the rounding of the sums could change the sign.
	const sure = 1e-9
	if math.Abs(sum3) > sure*sum2*math.Sqrt(sum2/all) {
		if sum3 > 0 {
			return 1
		}
		return -1
	}
	return c.skewInFull(x)
}

// skewInFull computes the moments value by value, as SciPy does, so that the same
// values round to zero.
func (c *column) skewInFull(x float64) int {
	all := float64(len(c.values) + 1)
	mean := 0.0
	for _, v := range c.values {
		mean += v
	}
	mean = (mean + x) / all
	moment := func(power3 bool) float64 {
		sum := 0.0
		add := func(v float64) {
			d := v - mean
			if power3 {
				sum += d * d * d
			} else {
				sum += d * d
			}
		}
		for _, v := range c.values {
			add(v)
		}
		add(x)
		return sum / all
	}
	const resolution = 1e-15 // of float64, as in NumPy
	limit := resolution * mean
	if moment(false) <= limit*limit {
		return 0
	}
	switch m := moment(true); {
	case m < 0:
		return -1
	case m > 0:
		return 1
	}
	return 0
}
