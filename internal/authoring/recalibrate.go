package authoring

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/internal/atomicfile"
	"github.com/pynomaly/pynomaly-runtime/internal/digest"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/offline"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// DefaultContamination is the share of anomalies in training rows if nothing says it.
const DefaultContamination = 0.1

// Calibrate scores training rows with the model at a place, a directory with a
// model.yaml, and writes into it what follows from the scores: threshold, calibration,
// confidence, golden rows, bins, and an explanation with its reference if there is none.
// The rest of the model.yaml stays as it is written, and so do a method of calibration
// and names of files. If t drops rows, Calibrate writes no golden rows and no explanation,
// and leaves those that are there. If t has no contamination, that of the model.yaml counts, or
// else DefaultContamination. If hosts would refuse the result, the directory stays as it
// was.
func (a Author) Calibrate(ctx context.Context, at modelstore.Place, t Training) (*Calibrated, error) {
	before, err := at.Contents() // an error if there is no model.yaml
	if err != nil {
		return nil, err
	}
	text := before.Files[manifest.FileName]
	own, err := manifest.Decode(text)
	if err != nil {
		return nil, err
	}
	if t.Contamination == 0 {
		t.Contamination = DefaultContamination
		if own.Confidence != nil {
			t.Contamination = own.Confidence.Contamination
		}
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	m, files, scores, err := a.rescore(ctx, at, own, t)
	if err != nil {
		return nil, err
	}
	keepNames(m, own, files)
	keys := []string{"files", "threshold", "calibration", "confidence", "drift"}
	if !t.DropRows {
		keys = append(keys, "golden")
	}
	if own.Explanation == nil && m.Explanation != nil {
		keys = append(keys, "explanation")
	}
	if files[manifest.FileName], err = manifest.Edit(text, m, keys...); err != nil {
		return nil, err
	}
	if err := a.overwrite(ctx, at, files); err != nil {
		return nil, err
	}
	c := calibrated(scores, *m.Threshold)
	c.method = m.Calibration.Method
	return &c, nil
}

// rescore opens a model without what follows from training rows, scores these, and
// returns a manifest with what follows, the files that it names, and the scores.
func (a Author) rescore(ctx context.Context, at modelstore.Place, own *manifest.Manifest, t Training) (*manifest.Manifest, map[string][]byte, []float64, error) {
	files := map[string][]byte{}
	mdl, err := a.openBare(ctx, at)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { _ = mdl.Close() }()
	m := mdl.Manifest.Clone()
	m.Files, m.Calibration = maps.Clone(own.Files), own.Calibration
	if !m.Stateful {
		scores, err := fitManifest(ctx, mdl, m, t, nil, files)
		return m, files, scores, err
	}
	rows, err := readTraining(t.File, mdl.Schema())
	if err != nil {
		return nil, nil, nil, err
	}
	if !t.DropRows {
		first := spread(rows)
		golden, err := inOrder(ctx, mdl, first, t.File)
		if err == nil {
			err = addGolden(m, first, golden, files)
		}
		if err != nil {
			return nil, nil, nil, err
		}
	}
	fresh, err := a.openBare(ctx, at) // it has not seen the golden rows
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { _ = fresh.Close() }()
	scores, err := inOrder(ctx, fresh, rows, t.File)
	if err != nil {
		return nil, nil, nil, err
	}
	calibrate(m, scores, t.Contamination, files)
	return m, files, scores, nil
}

// openBare opens a model without what Calibrate writes: golden rows of another detector,
// for example those of a template, would keep it from opening.
func (a Author) openBare(ctx context.Context, at modelstore.Place) (*model.Model, error) {
	return at.OpenWith(ctx, a.With, batching.NewCalls(1), func(m *manifest.Manifest) {
		m.Golden, m.Calibration, m.Confidence, m.DriftBins = nil, nil, nil, ""
	})
}

// inOrder scores rows with a stateful model, as they come.
func inOrder(ctx context.Context, m *model.Model, rows *sdk.Batch, file string) ([]float64, error) {
	const chunk = 256 // each chunk may take limits.timeout
	scores := make([]float64, rows.Rows())
	for from := 0; from < len(scores); from += chunk {
		to := min(from+chunk, len(scores))
		bad, err := m.Predict(ctx, rows.Slice(from, to), 0, scores[from:to])
		if err != nil {
			return nil, fmt.Errorf("%s: scoring row %d and those after it: %w", file, from+1, err)
		}
		if len(bad) > 0 {
			return nil, fmt.Errorf("%s: row %d: %s", file, from+bad[0].Row+1, offline.Reason(bad[0]))
		}
	}
	return scores, nil
}

// keepNames gives the new files the names that the manifest had for them, and keeps the
// golden rows' tolerance.
func keepNames(m, own *manifest.Manifest, files map[string][]byte) {
	rename := func(from string, to string) string {
		if to == "" || to == from {
			return from
		}
		files[to] = files[from]
		delete(files, from)
		if _, listed := m.Files[from]; listed && own.Files[from] == "" {
			delete(m.Files, from)
		}
		return to
	}
	if own.Golden != nil && m.Golden != nil {
		m.Golden.Rows, m.Golden.Tolerance = rename(goldenFile, own.Golden.Rows), own.Golden.Tolerance
	}
	if own.Calibration != nil {
		m.Calibration.Scores = rename(trainScores, own.Calibration.Scores)
	}
	m.DriftBins = rename(driftBins, own.DriftBins)
	for name, data := range files {
		if _, listed := m.Files[name]; listed || m.Golden == nil || name != m.Golden.Rows {
			m.Files[name] = digest.Of(data)
		}
	}
}

// overwrite writes files into a model's directory, model.yaml last. If hosts would then
// refuse the model, it restores the former files.
func (a Author) overwrite(ctx context.Context, at modelstore.Place, files map[string][]byte) (err error) {
	const mode = 0o644
	dir := filepath.Join(at.Dir, at.Location.Dir)
	former := map[string][]byte{} // nil: there was none
	names := slices.SortedFunc(maps.Keys(files), func(x, y string) int {
		switch {
		case x == manifest.FileName:
			return 1
		case y == manifest.FileName:
			return -1
		}
		return slices.Compare([]byte(x), []byte(y))
	})
	defer func() {
		if err == nil {
			return
		}
		for name, data := range former {
			file := filepath.Join(dir, name)
			if data == nil {
				err = errors.Join(err, os.Remove(file))
			} else {
				err = errors.Join(err, atomicfile.Write(file, data, mode))
			}
		}
	}()
	for _, name := range names {
		file := filepath.Join(dir, name)
		data, readErr := os.ReadFile(file)
		if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
			return fmt.Errorf("reading what is there: %w", readErr)
		}
		if err := atomicfile.Write(file, files[name], mode); err != nil {
			return err
		}
		former[name] = data
	}
	if _, err := a.Verify(ctx, at); err != nil {
		return fmt.Errorf("hosts would refuse the model, so %s stays as it was: %w", dir, err)
	}
	return nil
}
