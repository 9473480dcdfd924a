// Package model holds one opened version of a model. It opens and probes a detector,
// orients its scores so that higher is more anomalous, and applies what the manifest
// says: threshold, calibration, confidence, explanation, learning.
//
// Package batching calls detectors, and backends open artifacts. Package registry
// knows which versions there are and which one answers.
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
	// Difference is by how much a row's score may depend on the other rows of its
	// call; 0: it never does, bit for bit.
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
	witness     *witness // nil: callers learn how the detector fails

	given atomic.Pointer[Handover] // hands the state to the model that replaces this one
}

// Backends maps the names in manifests to backends.
type Backends map[string]backends.Backend

// Open opens and probes a model. The backend limits its own time, so that waiting
// does not count for limits.load_timeout. The probe may take as long again.
func Open(ctx context.Context, c *catalog.Contents, with Backends, calls *batching.Calls) (*Model, error) {
	m := c.Manifest
	backend, ok := with[m.Backend]
	if !ok {
		names := slices.Sorted(maps.Keys(with))
		return nil, fmt.Errorf("%w: this host has no backend %q (it has %v): switch it on under backends in plugins.yaml", backends.ErrRefused, m.Backend, names)
	}
	usual := m.Limits.MaxBatchRows
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
	if err := model.try(ctx, probe, backend, artifact, calls); err != nil {
		return nil, err
	}
	if most := model.Manifest.Limits.MaxBatchRows; most < usual {
		model.Warnings = append(model.Warnings, fmt.Sprintf("calls have at most %d rows: %d need more memory than limits.memory allows. Larger requests are split into calls", most, usual))
	}
	if !model.Manifest.Stateful {
		return model, nil
	}
	// A stateful detector that has seen the probe's rows must not serve.
	model.Abandon()
	artifact.Manifest = model.Manifest
	return model, model.start(ctx, backend, artifact, calls)
}

// try opens the detector and probes it. If an engine of this host fails the probe, the
// artifact itself is tried: the engine's last bits may matter to what the manifest
// expects.
func (m *Model) try(ctx context.Context, p *probe, backend backends.Backend, a backends.Artifact, calls *batching.Calls) error {
	if err := m.start(ctx, backend, a, calls); err != nil {
		return err
	}
	err := m.probe(ctx, p)
	if err == nil {
		return nil
	}
	m.Abandon()
	if m.can.engine.Own() && !a.Original && ctx.Err() == nil {
		a.Original = true
		if m.start(ctx, backend, a, calls) == nil {
			if m.probe(ctx, p) == nil {
				m.can.engine.Detail += ": " + err.Error()
				return nil
			}
			m.Abandon()
		}
	}
	return fmt.Errorf("%w: %w", backends.ErrRefused, err)
}

func (m *Model) probe(ctx context.Context, p *probe) error {
	ctx, cancel := context.WithTimeout(ctx, m.Manifest.Limits.LoadTimeout)
	defer cancel()
	m.Warnings, m.Difference = slices.Clone(m.Manifest.Warnings), 0
	return p.run(ctx, m)
}

// start opens the detector.
func (m *Model) start(ctx context.Context, backend backends.Backend, a backends.Artifact, calls *batching.Calls) error {
	var err error
	if m.scorer, err = backend.Open(ctx, a); err != nil {
		return Refusal(m.Manifest.Backend, err)
	}
	m.can = abilitiesOf(m.scorer)
	if most := m.can.rows; most > 0 && most < m.Manifest.Limits.MaxBatchRows && !m.Manifest.Limits.RowsGiven {
		m.Manifest = m.Manifest.With(manifest.Derived{MaxBatchRows: most})
	}
	if !m.Manifest.Stateful && m.scorer.Info().Stateful {
		m.Manifest = m.Manifest.With(manifest.Derived{Stateful: true})
	}
	limits := m.Manifest.Limits
	m.slots = batching.New(calls, batching.Detector{
		Scorer: m.scorer, Features: m.schema.Features(), Owner: owner{m},
		Limits:     batching.Limits{Timeout: limits.Timeout, Rows: limits.MaxBatchRows, Merged: m.Manifest.Batching.MaxRows, Queue: m.Manifest.Batching.MaxQueue},
		Sequential: m.Manifest.Stateful, Coupled: m.Manifest.BatchDependent, Remote: m.can.remote, Bounded: m.can.bounded, Separate: m.can.separate,
	})
	m.bytes = 2 * int64(len(a.Bytes))
	if m.can.memory != nil {
		m.bytes = m.can.memory.MemoryBytes()
	}
	m.bytes += m.calibration.bytes() + m.confidence.bytes()
	return nil
}

// prepare reads the side files and prepares what every answer needs.
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

// Abandon closes a model that must not be used, after its calls have returned: a
// late one may still run.
func (m *Model) Abandon() { m.slots.Abandon() }

// End waits for running calls and closes the detector.
func (m *Model) End() error { return m.slots.Close() }

// Retain sets a function that keeps the model loaded while a call runs. Call it
// before the first request.
func (m *Model) Retain(retain func() (release func())) { m.slots.Retain(retain) }

// LogTo sets where a model logs how its detector fails. Without it, callers learn
// that.
func (m *Model) LogTo(log *slog.Logger, now func() time.Time) {
	m.witness = &witness{log: log, now: now}
}

// Fill returns how calls are filled up with repeated rows, so that a row's score
// does not depend on the other rows.
func (m *Model) Fill() batching.Fill { return m.slots.Fill() }

// Waiting returns how many single rows wait for a call.
func (m *Model) Waiting() int { return m.slots.Waiting() }

// closeGrace is how long Close waits for a late call.
const closeGrace = 5 * time.Second

// Close is End for a model with a single user. A detector that is still busy is
// closed when it returns.
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

// ID returns the model's id.
func (m *Model) ID() string { return m.Manifest.ID }

// Version returns the model's version.
func (m *Model) Version() string { return m.Manifest.Version }

// Schema describes the model's rows.
func (m *Model) Schema() *rows.Schema { return m.schema }

// ContentDigest returns the digest of everything from which the model was read:
// manifest, artifact and files. It is "sha256:" and 64 hex digits.
func (m *Model) ContentDigest() string { return "sha256:" + m.identity }

// Bytes estimates the memory that the model holds.
func (m *Model) Bytes() int64 { return m.bytes }

// Decoder returns an empty decoder for the model's rows. Return it with Recycle,
// unless a call that uses its batch returned ErrLate.
func (m *Model) Decoder() *rows.Decoder {
	if d, ok := m.decoders.Get().(*rows.Decoder); ok {
		d.Reset()
		return d
	}
	return m.schema.NewDecoder()
}

// Recycle takes a decoder back for reuse.
func (m *Model) Recycle(d *rows.Decoder) { m.decoders.Put(d) }
