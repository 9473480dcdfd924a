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
	Training           // no File: nothing is calibrated
}

// Initialised is what Init has written.
type Initialised struct {
	Dir       string
	Threshold bool // the manifest has one
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
	model, err := found[0].OpenWith(ctx, a.With, batching.NewCalls(1), func(m *manifest.Manifest) {
		m.Output.Name = o.Output
	})
	if err != nil {
		return nil, err
	}
	defer model.Close()
	m := model.Manifest.Clone()
	m.ID, m.Version, m.Digest, m.Input = id, version, model.Digest, ""
	files := map[string][]byte{}
	if o.File != "" {
		if err := fitManifest(ctx, model, m, o.Training, files); err != nil {
			return nil, err
		}
	}
	artifact, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the model: %w", err)
	}
	m.Artifact = "model" + filepath.Ext(file)
	files[m.Artifact] = artifact
	dir, err := a.putVerified(ctx, m, files)
	return &Initialised{Dir: dir, Threshold: m.Threshold != nil}, err
}

// fitManifest scores the training rows and fills in what follows from them, in a manifest
// that is the model's so far.
func fitManifest(ctx context.Context, model *model.Model, m *manifest.Manifest, t Training, files map[string][]byte) error {
	rows, err := readTraining(t.File, model.Schema())
	if err != nil {
		return err
	}
	// What the host finds out with the golden rows must hold for the scores that it gets here.
	if err := model.Try(ctx, spread(rows)); err != nil {
		return fmt.Errorf("%s: %w", t.File, err)
	}
	scores := make([]float64, rows.Rows())
	bad, err := model.Predict(ctx, rows, 256, scores)
	if err != nil {
		return err
	}
	if len(bad) > 0 {
		return fmt.Errorf("%s: row %d: %s", t.File, bad[0].Row+1, offline.Reason(bad[0]))
	}
	if m.Explanation == nil {
		m.Explanation = &manifest.Explanation{Method: manifest.ExplainPermutation, Permutations: 5, Seed: 1, Reference: reference(rows)}
		if len(m.Features) <= 8 {
			m.Explanation.Method = manifest.ExplainExact
		}
	}
	if err := addGolden(m, rows, scores, files); err != nil {
		return err
	}
	calibrate(m, scores, t.Contamination, files)
	return nil
}
