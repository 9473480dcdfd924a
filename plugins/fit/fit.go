// Package fit defines the arguments and results of the detectors' Fit functions. The
// computations are in the detectors' packages.
package fit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Data holds training rows, row after row.
type Data struct {
	Rows, Cols int
	Values     []float64
}

// Row returns row i, which shares memory with d.
func (d Data) Row(i int) []float64 { return d.Values[i*d.Cols : (i+1)*d.Cols] }

// Column returns a copy of column j.
func (d Data) Column(j int) []float64 {
	out := make([]float64, d.Rows)
	for i := range out {
		out[i] = d.Values[i*d.Cols+j]
	}
	return out
}

// Check returns an error if nothing can be fitted to the rows.
func (d Data) Check() error {
	if d.Rows < 2 || d.Cols < 1 || len(d.Values) != d.Rows*d.Cols {
		return fmt.Errorf("%d rows of %d columns (%d values) are too few to fit: at least 2 rows and a column are needed", d.Rows, d.Cols, len(d.Values))
	}
	for k, v := range d.Values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("row %d, column %d is %v: training values must be finite", k/d.Cols+1, k%d.Cols+1, v)
		}
	}
	return nil
}

// Options are settings that some detectors have. The others ignore them.
type Options struct {
	Bins   int    // of each histogram (hbos)
	Compat string // whose scores they are to be, where that differs from the definition (hbos: pyod)
	Trees  int    // (hstrees)
	Height int    // of each tree (hstrees)
	Window int    // rows of a window (hstrees)
	Seed   uint64 // (hstrees)
}

// DefaultOptions returns the defaults of PyOD and river.
func DefaultOptions() Options { return Options{Bins: 10, Trees: 25, Height: 8, Window: 250, Seed: 1} }

// Result is the result of a fit.
type Result struct {
	Files map[string][]byte // for the model's directory, by name
	// Scores are the scores of the training rows if they depend on the rows before.
	// If nil, the model computes them.
	Scores []float64
}

// TrainFile is the name of the file with the training rows.
const TrainFile = "train.f64"

// Columns encodes training rows as little-endian float64, column after column.
func Columns(d Data) []byte {
	out := make([]byte, 0, 8*len(d.Values))
	for j := range d.Cols {
		for i := range d.Rows {
			out = binary.LittleEndian.AppendUint64(out, math.Float64bits(d.Values[i*d.Cols+j]))
		}
	}
	return out
}

// ErrFile is wrapped by errors about a file that Fit did not write.
var ErrFile = errors.New("the model's file is not what the detector's fit wrote")

// ParseColumns decodes the output of Columns for the given number of columns.
func ParseColumns(data []byte, cols int) ([][]float64, error) {
	const width = 8
	if cols < 1 || len(data)%(width*cols) != 0 || len(data) < 2*width*cols {
		return nil, fmt.Errorf("%w: %s has %d bytes, which is not a table of %d columns with 2 rows or more", ErrFile, TrainFile, len(data), cols)
	}
	rows := len(data) / width / cols
	out := make([][]float64, cols)
	for j := range out {
		out[j] = make([]float64, rows)
		for i := range out[j] {
			v := math.Float64frombits(binary.LittleEndian.Uint64(data[width*(j*rows+i):]))
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, fmt.Errorf("%w: %s has %v in row %d of column %d", ErrFile, TrainFile, v, i, j)
			}
			out[j][i] = v
		}
	}
	return out, nil
}
