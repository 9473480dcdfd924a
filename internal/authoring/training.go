package authoring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/offline"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// columnNames returns the column names of a file of training rows. Each must be a valid
// feature name.
func columnNames(file string) ([]string, error) {
	names, err := headerOf(file)
	if err != nil {
		return nil, err
	}
	return names, checkColumns(file, names)
}

// checkColumns refuses column names that cannot be feature names.
func checkColumns(file string, names []string) error {
	for j, name := range names {
		if strings.TrimSpace(name) != name {
			return fmt.Errorf("%s: the name of column %d is %q: remove the spaces around it", file, j+1, name)
		}
		if name == "" || !utf8.ValidString(name) {
			return fmt.Errorf("%s: the name of column %d is %q: name it, in UTF-8 (pandas writes its index as a column without a name; index=False leaves it out)", file, j+1, name)
		}
	}
	return nil
}

// gapError says that values of training rows are missing, and none may be.
type gapError struct {
	file    string
	first   sdk.RowError
	gaps    int // rows with a gap
	rows    int
	propose string // what to do
}

// Error names the first gap.
func (e *gapError) Error() string {
	return fmt.Sprintf("%s: row %d: feature %q is missing, and %d of %d rows have such gaps: %s", e.file, e.first.Row+1, e.first.Field, e.gaps, e.rows, e.propose)
}

const proposeValue = "pass --missing VALUE, which replaces missing values in training and in requests, or leave such rows out"

// readTraining reads training rows, and ignores columns that are not features.
func readTraining(file string, schema *rows.Schema) (*sdk.Batch, error) {
	f, format, err := openTraining(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := table.Open(format, f, io.Discard, schema, table.Options{Extra: true})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	d, err := decodeAll(t, schema)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(d.failed) > 0 {
		return nil, unusable(file, d.failed, d.total)
	}
	const least = 10
	if n := d.batch.Rows(); n < least {
		return nil, fmt.Errorf("%s has %d rows; at least %d are needed", file, n, least)
	}
	return d.batch, nil
}

// scoreAll scores training rows as Predict does, with all processors if the answer to a
// row does not depend on others.
func scoreAll(ctx context.Context, m *model.Model, rows *sdk.Batch, scores []float64) ([]sdk.RowError, error) {
	chunks := (len(scores) + trainingRows - 1) / trainingRows
	workers := min(runtime.GOMAXPROCS(0), chunks)
	if workers < 2 || m.Manifest.Stateful || m.Manifest.BatchDependent {
		return m.Predict(ctx, rows, trainingRows, scores)
	}
	bad, errs := make([][]sdk.RowError, workers), make([]error, workers)
	var all sync.WaitGroup
	for w := range workers {
		from, to := w*chunks/workers*trainingRows, min((w+1)*chunks/workers*trainingRows, len(scores))
		all.Go(func() {
			bad[w], errs[w] = m.Predict(ctx, rows.Slice(from, to), trainingRows, scores[from:to])
			for i := range bad[w] {
				bad[w][i].Row += from
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(bad...), nil
}

// unusable returns the error for rows that cannot be read.
func unusable(file string, failed []sdk.RowError, total int) error {
	gaps := 0
	for _, e := range failed {
		if e.Reason == rows.MissingReason {
			gaps++
		}
	}
	if failed[0].Reason == rows.MissingReason {
		return &gapError{file: file, first: failed[0], gaps: gaps, rows: total, propose: proposeValue}
	}
	return fmt.Errorf("%s: row %d: %s", file, failed[0].Row+1, offline.Reason(failed[0]))
}

// proposeNaN completes the error about gaps if the model scores rows whose gaps are NaN.
func proposeNaN(ctx context.Context, m *model.Model, t Training, err error) error {
	var gap *gapError
	if !errors.As(err, &gap) {
		return err
	}
	filled := m.Manifest.Clone()
	if setMissing(filled.Features, "nan", func(i int) bool { return filled.Features[i].Missing.Policy == manifest.MissingIsError }) != nil {
		return err
	}
	batch, wrong := readTraining(t.File, rows.NewSchema(filled))
	if wrong != nil {
		return err // other values are missing, or wrong
	}
	bad, wrong := m.Predict(ctx, batch, trainingRows, make([]float64, batch.Rows()))
	if wrong != nil || len(bad) > 0 {
		gap.propose = "the model does not score rows with NaN; " + gap.propose
		return err
	}
	gap.propose = "the model scores them if what is missing is NaN, so pass --missing nan; or " + gap.propose
	return err
}
