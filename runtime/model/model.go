// Package model is one opened version of a model: it opens and probes a detector, turns
// its scores so that higher is more anomalous, and applies what the manifest says to them:
// threshold, calibration, confidence, explanation, learning.
//
// How a detector is called is in batching, how an artifact is opened a backend's. Which
// versions there are, and which of them answers, is not here: see registry.
package model

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/stats"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Model is a loaded version of a model. It is safe for concurrent use.
type Model struct {
	Manifest *manifest.Manifest
	Digest   string   // of the artifact
	Warnings []string // what the probe found odd but not wrong
	Stats    *stats.Counters
	// Difference is how far apart a row's scores in different company may be; 0: they are
	// equal bit for bit.
	Difference float64

	scorer      sdk.Scorer
	can         abilities
	schema      *rows.Schema
	decoders    sync.Pool
	calibration *calibration
	confidence  *confidence
	reference   *sdk.Batch // one row, for explanations; nil without one
	identity    string
	bytes       int64
	slots       *batching.Slots
	witness     *witness // nil: whoever asks is told how the detector fails

	given atomic.Pointer[Handover] // of the state, to the model that replaces this one
}

// Backends finds a backend by the name a manifest gives it.
type Backends map[string]backends.Backend

// Open opens and probes a model. The backend bounds its own part, so that what it
// waits for takes nothing from limits.load_timeout; the probe has as much again.
func Open(ctx context.Context, c *catalog.Contents, with Backends, calls *batching.Calls) (*Model, error) {
	m := c.Manifest
	backend, ok := with[m.Backend]
	if !ok {
		names := slices.Sorted(maps.Keys(with))
		return nil, fmt.Errorf("%w: this host has no backend %q (it has %v): switch it on under backends in plugins.yaml", backends.ErrRefused, m.Backend, names)
	}
	c, err := c.Inspect(ctx, backend)
	if err != nil {
		return nil, Refusal(m.Backend, err)
	}
	m = c.Manifest
	model := &Model{Manifest: m, Digest: c.Digest, identity: c.Identity, schema: rows.NewSchema(m), Warnings: slices.Clone(m.Warnings)}
	if err := model.prepare(c); err != nil {
		return nil, err
	}
	probe, err := newProbe(model, c)
	if err != nil {
		return nil, err
	}
	artifact := c.ForBackend()
	artifact.ProbeRows = probe.rows
	if err := model.start(ctx, backend, artifact, calls); err != nil {
		return nil, err
	}
	probing, cancel := context.WithTimeout(ctx, m.Limits.LoadTimeout)
	err = probe.run(probing, model)
	cancel()
	if err != nil {
		model.Abandon()
		return nil, fmt.Errorf("%w: %w", backends.ErrRefused, err)
	}
	if !model.Manifest.Stateful {
		return model, nil
	}
	// What the probe's rows have left in a detector that remembers must not serve.
	model.Abandon()
	artifact.Manifest = model.Manifest
	return model, model.start(ctx, backend, artifact, calls)
}

// start opens the detector.
func (m *Model) start(ctx context.Context, backend backends.Backend, a backends.Artifact, calls *batching.Calls) error {
	var err error
	if m.scorer, err = backend.Open(ctx, a); err != nil {
		return Refusal(m.Manifest.Backend, err)
	}
	m.can = abilitiesOf(m.scorer)
	if !m.Manifest.Stateful && m.scorer.Info().Stateful {
		m.Manifest = m.Manifest.With(manifest.Derived{Stateful: true})
	}
	limits := m.Manifest.Limits
	m.slots = batching.New(calls, batching.Detector{
		Scorer: m.scorer, Features: m.schema.Features(), Owner: owner{m},
		Limits:     batching.Limits{Timeout: limits.Timeout, Rows: limits.MaxBatchRows, Merged: m.Manifest.Batching.MaxRows, Queue: m.Manifest.Batching.MaxQueue},
		Sequential: m.Manifest.Stateful, Coupled: m.Manifest.BatchDependent, Remote: m.can.remote,
	})
	m.bytes = 2 * int64(len(a.Bytes))
	if m.can.memory != nil {
		m.bytes = m.can.memory.MemoryBytes()
	}
	m.bytes += m.calibration.bytes() + m.confidence.bytes()
	return nil
}

// prepare reads the side files and makes what every answer needs.
func (m *Model) prepare(c *catalog.Contents) error {
	var err error
	if m.calibration, err = newCalibration(m.Manifest.Calibration, c.Files); err != nil {
		return err
	}
	if m.confidence, err = newConfidence(m.Manifest, m.calibration); err != nil {
		return err
	}
	edges := stats.DefaultEdges()
	if m.Manifest.DriftBins != "" {
		if edges, err = stats.DriftEdges(c.Files[m.Manifest.DriftBins]); err != nil {
			return fmt.Errorf("%s: %w", m.Manifest.DriftBins, err)
		}
	}
	m.Stats = stats.New(edges)
	if e := m.Manifest.Explanation; e != nil && e.Reference != nil {
		m.reference = sdk.NewBatch(m.schema.Features())
		m.reference.Resize(1)
		for j, f := range m.schema.Features() {
			if err := m.reference.SetValue(0, j, e.Reference[f.Name]); err != nil {
				return fmt.Errorf("explanation.reference: %w", err)
			}
		}
	}
	return nil
}

// Abandon closes a model that is not to be used, once its calls have returned:
// one that came late may still run in the detector.
func (m *Model) Abandon() { m.slots.Abandon() }

// End waits for the calls that run and closes the detector.
func (m *Model) End() error { return m.slots.Close() }

// Retain sets what keeps the model loaded while a call runs. Set it before the first
// request.
func (m *Model) Retain(retain func() (release func())) { m.slots.Retain(retain) }

// LogTo sets where a model says how its detector fails. Without it whoever asks is told.
func (m *Model) LogTo(log *slog.Logger, now func() time.Time) {
	m.witness = &witness{log: log, now: now}
}

// Fill is how calls are filled up with repeated rows, so that a row is scored the same
// in whatever company.
func (m *Model) Fill() batching.Fill { return m.slots.Fill() }

// Waiting is how many single rows wait for a call.
func (m *Model) Waiting() int { return m.slots.Waiting() }

// closeGrace is how long Close waits for a call that came late.
const closeGrace = 5 * time.Second

// Close is End for a model that nobody but the caller uses. A detector that is still
// busy is closed when it returns.
func (m *Model) Close() error {
	done := make(chan error, 1)
	m.slots.Calls().Go(func() { done <- m.End() })
	select {
	case err := <-done:
		return err
	case <-time.After(closeGrace):
		return batching.ErrLate
	}
}

// ID is the model's id.
func (m *Model) ID() string { return m.Manifest.ID }

// Version is the model's version.
func (m *Model) Version() string { return m.Manifest.Version }

// Schema says what the model's rows look like.
func (m *Model) Schema() *rows.Schema { return m.schema }

// ContentDigest is that of all that the model was read from: manifest, artifact and
// files, "sha256:" and 64 hex digits.
func (m *Model) ContentDigest() string { return "sha256:" + m.identity }

// Bytes estimates the memory that the model holds.
func (m *Model) Bytes() int64 { return m.bytes }

// Decoder returns an empty decoder for the model's rows. Give it back with
// Recycle, unless a call that uses its batch came back with ErrLate.
func (m *Model) Decoder() *rows.Decoder {
	if d, ok := m.decoders.Get().(*rows.Decoder); ok {
		d.Reset()
		return d
	}
	return m.schema.NewDecoder()
}

// Recycle takes a decoder back for reuse.
func (m *Model) Recycle(d *rows.Decoder) { m.decoders.Put(d) }
