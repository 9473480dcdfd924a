package authoring

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/offline"
)

// InitOptions say what Init writes.
type InitOptions struct {
	ID, Version string // empty: as the file's name says; version 1.0.0 where it says none
	Output      string // of the graph, that is the score; empty: the only one
	Orientation string // manifest.HigherIsAnomalous or HigherIsNormal; empty: as the graph says
	Training           // no File: nothing is calibrated
}

// Initialised is what Init has written.
type Initialised struct {
	Dir       string
	Threshold bool // the manifest has one
	Found     Calibrated
	Warnings  []string
}

// Calibrated says what training rows have yielded.
type Calibrated struct {
	Rows      int // 0: there were none
	Threshold float64
	Flagged   int // rows that score above it
	ties
}

// String says it in a sentence.
func (c Calibrated) String() string {
	return fmt.Sprintf("threshold %g: %d of %d training rows (%.3g %%) are anomalies%s", c.Threshold, c.Flagged, c.Rows, 100*float64(c.Flagged)/float64(c.Rows), c.ties)
}

// Init writes a version with a copy of a bare model file, and the manifest that follows
// from the file and the training rows.
func (a Author) Init(ctx context.Context, file string, o InitOptions) (*Initialised, error) {
	found, err := a.Store.Find(file)
	if err != nil {
		return nil, err
	}
	at := found[0]
	if at.File == "" {
		return nil, fmt.Errorf("%s is no bare model file", file)
	}
	if at.Version == "0.0.0" { // the file's name says none
		at.Version = "1.0.0"
	}
	id, version := cmp.Or(o.ID, at.ID), cmp.Or(o.Version, at.Version)
	if err := checkName(id, version); err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Orientation != "" && o.Orientation != manifest.HigherIsAnomalous && o.Orientation != manifest.HigherIsNormal {
		return nil, fmt.Errorf("--orientation is %q: it must be %s or %s", o.Orientation, manifest.HigherIsAnomalous, manifest.HigherIsNormal)
	}
	model, err := found[0].OpenWith(ctx, a.With, batching.NewCalls(1), func(m *manifest.Manifest) {
		m.Output.Name = o.Output
		if o.Orientation != "" {
			m.Output.HigherIsNormal, m.Output.Directed = o.Orientation == manifest.HigherIsNormal, true
		}
	})
	if err != nil {
		return nil, err
	}
	defer model.Close()
	m := model.Manifest.Clone()
	if !m.Output.Directed {
		return nil, fmt.Errorf("the name of the output %q does not say whether higher scores are anomalous or normal: state --orientation %s or %s", m.Output.Name, manifest.HigherIsAnomalous, manifest.HigherIsNormal)
	}
	m.ID, m.Version, m.Digest, m.Input = id, version, model.Digest, ""
	files := map[string][]byte{}
	made := &Initialised{}
	if o.File != "" {
		own := m.Threshold
		var scores []float64
		if scores, err = fitManifest(ctx, model, m, o.Training, files); err != nil {
			return nil, err
		}
		made.Found = calibrated(scores, *m.Threshold)
		if own != nil {
			made.Warnings = differs(made.Found, calibrated(scores, *own))
		}
	}
	artifact, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the model: %w", err)
	}
	m.Artifact = "model" + filepath.Ext(file)
	files[m.Artifact] = artifact
	made.Threshold = m.Threshold != nil
	made.Dir, err = a.putVerified(ctx, m, files)
	return made, err
}

// calibrated counts the rows that score above a threshold. The scores are sorted.
func calibrated(scores []float64, threshold float64) Calibrated {
	c := Calibrated{Rows: len(scores), Threshold: threshold, ties: tiesOf(scores)}
	for _, v := range scores {
		if v > threshold {
			c.Flagged++
		}
	}
	return c
}

// differs warns of a threshold of the graph's own that flags other rows.
func differs(made, own Calibrated) []string {
	if made.Flagged == own.Flagged {
		return nil
	}
	return []string{fmt.Sprintf("the graph has a threshold of its own, which differs: by it %d of the %d rows are anomalies. model.yaml has the one that follows from --contamination", own.Flagged, own.Rows)}
}

// fitManifest scores the training rows and fills in what follows from them, in a manifest
// that is the model's so far. It returns the scores.
func fitManifest(ctx context.Context, model *model.Model, m *manifest.Manifest, t Training, files map[string][]byte) ([]float64, error) {
	rows, err := readTraining(t.File, model.Schema())
	if err != nil {
		return nil, err
	}
	// What the host finds out with the golden rows must hold for the scores that it gets here.
	if err := model.Try(ctx, spread(rows)); err != nil {
		return nil, fmt.Errorf("%s: %w", t.File, err)
	}
	scores := make([]float64, rows.Rows())
	bad, err := model.Predict(ctx, rows, 256, scores)
	if err != nil {
		return nil, err
	}
	if len(bad) > 0 {
		return nil, fmt.Errorf("%s: row %d: %s", t.File, bad[0].Row+1, offline.Reason(bad[0]))
	}
	if m.Explanation == nil {
		m.Explanation = &manifest.Explanation{Method: manifest.ExplainPermutation, Permutations: 5, Seed: 1, Reference: reference(rows)}
		if len(m.Features) <= 8 {
			m.Explanation.Method = manifest.ExplainExact
		}
	}
	if err := addGolden(m, rows, scores, files); err != nil {
		return nil, err
	}
	calibrate(m, scores, t.Contamination, files)
	return scores, nil
}
