// Package detectors fits isolation forests, local outlier factors and distances to
// the nearest neighbours, and writes them as ONNX graphs of standard operators. Any
// ONNX runtime scores such a graph.
//
// Thresholds, calibration and manifests are written by package authoring; graphs are
// served by package onnx.
package detectors

import (
	"errors"
	"fmt"
	"math"
)

// Rows are training rows, row after row.
type Rows struct {
	Features int
	Values   []float32
	// Columns are set if some columns are categories: each column is an input of the
	// graph, and has one feature or one per category. nil: the graph takes the
	// features as one matrix.
	Columns []Column
}

// Column is a column of people's tables.
type Column struct {
	Name       string
	Categories []string // in the order of their features; nil: a number
}

// Len returns the number of rows.
func (r Rows) Len() int { return len(r.Values) / r.Features }

// Row returns row i, which shares memory with r.
func (r Rows) Row(i int) []float32 { return r.Values[i*r.Features : (i+1)*r.Features] }

func (r Rows) check() error {
	if r.Features < 1 || len(r.Values)%r.Features != 0 {
		return fmt.Errorf("%d numbers are no rows of %d features", len(r.Values), r.Features)
	}
	if r.Len() < 2 {
		return errors.New("at least 2 training rows are needed")
	}
	for i, v := range r.Values {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("row %d, column %d is %v: training values must be finite, and within the range of float32", i/r.Features+1, i%r.Features+1, v)
		}
	}
	return nil
}

// Options are settings that some detectors have. The others ignore them.
type Options struct {
	Trees      int    // iforest
	Samples    int    // iforest: training rows of a tree; fewer if there are fewer
	Seed       uint64 // iforest
	Neighbours int    // lof, knn; at most one less than the training rows
	Distance   string // knn: DistanceLargest, DistanceMean or DistanceMedian
	Scale      bool   // standardise each feature: subtract its mean, divide by its deviation
}

// What a row's score by its neighbours is.
const (
	DistanceLargest = "largest" // to the k-th
	DistanceMean    = "mean"
	DistanceMedian  = "median"
)

// Input names the graph's input if there are no Columns, and Output its only output.
const (
	Input  = "features"
	Output = "anomaly_score"
)

// Fitted is a detector's graph.
type Fitted struct {
	// Graph takes Input [N, features] of float, or for each column [N, 1] of float or
	// string. It gives Output [N, 1] of float: higher is more anomalous.
	Graph []byte
	// Scores are the scores of the training rows among the others, where the graph
	// would find each row to be its own neighbour; nil: the graph's scores hold.
	Scores []float64
	Keeps  string // what the graph keeps of the training rows, for people
}

// Detector is a kind of detector.
type Detector struct {
	Name      string
	Algorithm string
	Fit       func(Rows, Options) (*Fitted, error)
}

// All returns the detectors.
func All() []Detector {
	return []Detector{
		{Name: "iforest", Algorithm: "isolation_forest", Fit: IsolationForest},
		{Name: "knn", Algorithm: "knn", Fit: KNN},
		{Name: "lof", Algorithm: "local_outlier_factor", Fit: LOF},
	}
}

// Defaults returns the defaults of scikit-learn for iforest. Those of lof and knn are
// set by Neighbours 0: 20 as in scikit-learn, and 5 as in PyOD.
func Defaults() Options {
	return Options{Trees: 100, Samples: 256, Seed: 1, Distance: DistanceLargest}
}
