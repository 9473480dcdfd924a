// Package authoring writes versions of models into a directory of models: for a bare
// model file, for a detector that it fits to rows, and for a project of a plugin's
// author. It opens what it writes as a host does.
package authoring

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// Author writes into a directory of models, and opens models with backends.
type Author struct {
	Store modelstore.Store
	With  model.Backends
}

// Training names the rows that a model is fitted or calibrated to.
type Training struct {
	File          string  // CSV, NDJSON, a JSON array or Parquet, as its name says
	Contamination float64 // share of anomalies in the rows
}

func (t Training) check() error {
	if !(t.Contamination > 0 && t.Contamination <= 0.5) { // excludes NaN
		return errors.New("--contamination must be above 0 and at most 0.5")
	}
	return nil
}

func checkName(id, version string) error {
	if !manifest.ValidID(id) || !manifest.ValidVersion(version) {
		return fmt.Errorf("%s@%s is not a valid model id and version", id, version)
	}
	return nil
}

// put writes a version with its manifest, and returns its directory.
func (a Author) put(m *manifest.Manifest, files map[string][]byte) (string, error) {
	var err error
	if files[manifest.FileName], err = manifest.Encode(m); err != nil {
		return "", err
	}
	return a.Store.Put(m.ID, m.Version, files)
}

// putVerified is like put, but removes the version again if Verify fails.
func (a Author) putVerified(ctx context.Context, m *manifest.Manifest, files map[string][]byte) (string, error) {
	var err error
	if files[manifest.FileName], err = manifest.Encode(m); err != nil {
		return "", err
	}
	return a.Store.PutChecked(m.ID, m.Version, files, func(at modelstore.Place) error {
		if _, err := a.Verify(ctx, at); err != nil {
			return fmt.Errorf("hosts would refuse %s@%s, so nothing is written: %w", m.ID, m.Version, err)
		}
		return nil
	})
}

// Verdict is the result of Verify.
type Verdict struct {
	ID, Version string
	Features    int
	Rows        string // the rows of the probe: golden rows, or made-up rows
	Warnings    []string
	Took        time.Duration
	Fill        batching.Fill   // how calls are filled so that a row's score does not depend on the other rows of its call
	Difference  float64         // largest difference of a row's scores that remains
	Alone       bool            // not compared: the manifest says that rows influence each other
	Limits      manifest.Limits // with the rows of a call that fit the memory, as if the manifest gave them
}

// Same says whether a row's score depends on the other rows of its call.
func (v *Verdict) Same() string {
	switch {
	case v.Alone:
		return "a row's score depends on other rows, as the manifest says"
	case v.Difference > 0:
		return fmt.Sprintf("a row's score may differ by %.3g with the other rows of its call", v.Difference)
	case v.Fill.Each > 1:
		return fmt.Sprintf("a row's score does not depend on the other rows of its call: calls repeat each row %d times", v.Fill.Each)
	case v.Fill.Rows > 1:
		return fmt.Sprintf("a row's score does not depend on the other rows of its call: calls are filled up to a multiple of %d rows", v.Fill.Rows)
	}
	return "a row's score does not depend on the other rows of its call"
}

// Verify loads and probes a version as a host does, and closes it.
func (a Author) Verify(ctx context.Context, at modelstore.Place) (*Verdict, error) {
	start := time.Now()
	m, err := at.Open(ctx, a.With, batching.NewCalls(1))
	if err != nil {
		return nil, err
	}
	v := &Verdict{ID: m.ID(), Version: m.Version(), Features: len(m.Manifest.Features), Rows: "made-up rows", Warnings: m.Warnings, Took: time.Since(start)}
	v.Fill, v.Difference, v.Alone = m.Fill(), m.Difference, m.Manifest.Stateful || m.Manifest.BatchDependent
	v.Limits = m.Manifest.Limits
	v.Limits.RowsGiven = true
	if m.Manifest.Golden != nil {
		v.Rows = "golden rows"
	}
	return v, m.Close()
}

// VerifyAll verifies every version that the paths name, and calls each with its name
// and its verdict or error.
func (a Author) VerifyAll(ctx context.Context, paths []string, each func(name string, v *Verdict, err error)) error {
	for _, path := range paths {
		all, err := a.Store.Find(path)
		if err != nil {
			return err //nolint:wrapcheck // it names the path
		}
		for _, p := range all {
			name := p.Path()
			if len(all) == 1 {
				name = path
			}
			v, err := a.Verify(ctx, p)
			each(name, v, err)
		}
	}
	return nil
}
