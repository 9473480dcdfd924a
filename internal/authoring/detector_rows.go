package authoring

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/detectors"
	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// beginGraph makes the manifest of a graph as far as the header of the training rows
// says it.
func beginGraph(d Detector, o FitOptions) (*manifest.Manifest, error) {
	names, err := featureNames(o)
	if err != nil {
		return nil, err
	}
	m := manifest.Defaults()
	m.ID, m.Version, m.Algorithm, m.Backend, m.Artifact = o.ID, o.Version, d.Algorithm, manifest.BackendONNX, "model.onnx"
	m.Output = manifest.Output{Name: detectors.Output, Directed: true}
	if len(o.Categorical) == 0 {
		m.Input = detectors.Input
	}
	for _, name := range o.Categorical {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("--categorical names %q, which is no feature of %s: it has %s", name, o.File, strings.Join(names, ", "))
		}
	}
	for _, name := range names {
		f := manifest.Feature{Feature: sdk.Feature{Name: name, DType: sdk.Float32}}
		if slices.Contains(o.Categorical, name) {
			f.DType = sdk.String
		}
		if name == detectors.Output && m.Input == "" {
			return nil, fmt.Errorf("%s has a column %q, which is what the graph's output is called: rename it", o.File, name)
		}
		m.Features = append(m.Features, f)
	}
	return m, nil
}

// graphRows reads the training rows, and states in m what replaces missing values.
func graphRows(m *manifest.Manifest, o FitOptions) (*detectors.Rows, *sdk.Batch, error) {
	reading := m.Clone()
	for j := range reading.Features {
		f := &reading.Features[j]
		f.Missing = manifest.Missing{Policy: manifest.MissingIsNaN}
		if f.DType == sdk.String {
			f.Missing = manifest.Missing{Policy: manifest.MissingIsValue, Value: noText}
		}
	}
	batch, err := readTraining(o.File, rows.NewSchema(reading))
	if err != nil {
		return nil, nil, fmt.Errorf("%w (columns of texts are named in --categorical, columns that are no features in --exclude)", err)
	}
	if o.Missing == MissingError && m.Input != "" && isWhole(batch) {
		return &detectors.Rows{Features: len(m.Features), Values: batch.Float32s()}, batch, nil
	}
	out := &detectors.Rows{}
	var parts [][]float32 // of each feature, by row
	for j := range m.Features {
		f := &m.Features[j]
		column := detectors.Column{Name: f.Name}
		if f.DType == sdk.String {
			values := batch.Column(j).Strings
			if f.Missing, err = fillTexts(values, o); err != nil {
				return nil, nil, fmt.Errorf("%s: column %q: %w", o.File, f.Name, err)
			}
			var one [][]float32
			if column.Categories, one, err = oneHot(values); err != nil {
				return nil, nil, fmt.Errorf("%s: column %q %w", o.File, f.Name, err)
			}
			parts = append(parts, one...)
		} else {
			values := numbers(batch, j)
			if f.Missing, err = fillNumbers(values, o); err != nil {
				return nil, nil, fmt.Errorf("%s: column %q: %w", o.File, f.Name, err)
			}
			parts = append(parts, values)
		}
		out.Columns = append(out.Columns, column)
	}
	if m.Input != "" {
		out.Columns = nil
	}
	out.Features, out.Values = len(parts), make([]float32, len(parts)*batch.Rows())
	for j, part := range parts {
		for i, v := range part {
			out.Values[i*len(parts)+j] = v
		}
	}
	return out, batch, nil
}

// isWhole reports whether rows are a matrix of numbers without gaps.
func isWhole(rows *sdk.Batch) bool {
	return rows.Dense() == sdk.Float32 && !slices.ContainsFunc(rows.Float32s(), func(v float32) bool { return v != v })
}

// noText stands for a missing text while training rows are read.
const noText = "\x00"

// numbers copies a feature's values.
func numbers(b *sdk.Batch, j int) []float32 {
	if b.Dense() == 0 {
		return slices.Clone(b.Column(j).Float32s)
	}
	out := make([]float32, b.Rows())
	for i := range out {
		out[i] = b.Float32s()[i*len(b.Features())+j]
	}
	return out
}

// fillNumbers replaces missing numbers, and returns the rule for rows to come.
func fillNumbers(values []float32, o FitOptions) (manifest.Missing, error) {
	var given []float32
	var sum float64
	for i, v := range values {
		if v == v {
			given = append(given, v)
			sum += float64(v)
		} else if o.Missing == MissingError {
			return manifest.Missing{}, fmt.Errorf("row %d has no value: pass --missing mean, median or a number, which replaces missing values in training and in requests, or leave such rows out", i+1)
		}
	}
	var fill float32
	switch o.Missing {
	case MissingError:
		return manifest.Missing{}, nil
	case MissingMean, MissingMedian:
		if len(given) == 0 {
			return manifest.Missing{}, fmt.Errorf("no row has a value")
		}
		fill = float32(sum / float64(len(given)))
		if slices.Sort(given); o.Missing == MissingMedian {
			fill = (given[(len(given)-1)/2] + given[len(given)/2]) / 2
		}
	default:
		if o.Missing == "nan" {
			return manifest.Missing{}, errors.New("no detector of model fit scores NaN: pass --missing mean, median or a number")
		}
		v, err := strconv.ParseFloat(o.Missing, 32)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return manifest.Missing{}, fmt.Errorf("--missing is %q: it must be error, mean, median or a number", o.Missing)
		}
		fill = float32(v)
	}
	for i, v := range values {
		if v != v {
			values[i] = fill
		}
	}
	return manifest.Missing{Policy: manifest.MissingIsValue, Value: fill}, nil
}

// fillTexts replaces missing texts by the most common one, and returns the rule for rows
// to come.
func fillTexts(values []string, o FitOptions) (manifest.Missing, error) {
	count, most := map[string]int{}, ""
	for i, v := range values {
		if v != noText {
			if count[v]++; count[v] > count[most] || (count[v] == count[most] && v < most) {
				most = v
			}
		} else if o.Missing != MissingMean && o.Missing != MissingMedian {
			return manifest.Missing{}, fmt.Errorf("row %d has no text: pass --missing mean or median, with which the most common text replaces missing ones, or leave such rows out", i+1)
		}
	}
	switch {
	case o.Missing != MissingMean && o.Missing != MissingMedian:
		return manifest.Missing{}, nil
	case len(count) == 0:
		return manifest.Missing{}, fmt.Errorf("no row has a text")
	}
	for i, v := range values {
		if v == noText {
			values[i] = most
		}
	}
	return manifest.Missing{Policy: manifest.MissingIsValue, Value: most}, nil
}

// maxCategories is how many texts a column may have: one that has more is no category.
const maxCategories = 1000

// oneHot returns the texts of a column in order, and for each of them 1 in the rows that
// have it.
func oneHot(values []string) (categories []string, features [][]float32, err error) {
	categories = slices.Clone(values)
	slices.Sort(categories)
	categories = slices.Compact(categories)
	if len(categories) > maxCategories {
		return nil, nil, fmt.Errorf("has %d different texts; at most %d are categories: leave it out with --exclude", len(categories), maxCategories)
	}
	features = make([][]float32, len(categories))
	for k := range features {
		features[k] = make([]float32, len(values))
	}
	for i, v := range values {
		k, _ := slices.BinarySearch(categories, v)
		features[k][i] = 1
	}
	return categories, features, nil
}
