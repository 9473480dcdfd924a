//go:build cgo

package onnx

import (
	"context"
	"errors"
	"fmt"
	"time"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// runProbe loads a graph and runs it on one row and then on the largest batch, or on
// half of it, and so on, until it fits the memory.
func runProbe(ctx context.Context, job probeJob) (_ finding, err error) {
	start := time.Now()
	s, err := newScorer(job.Graph, &job.Binding, manifest.Defaults())
	if err != nil {
		return finding{}, fmt.Errorf("loading the graph: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	found := finding{LoadTime: time.Since(start)}
	rows := job.Rows.batch()
	if err := s.findShape(rows); err != nil {
		return found, err
	}
	found.OutputRank, found.OutputWidth = s.bind.OutputRank, s.bind.Width
	for _, n := range []int{1, job.MaxRows} {
		for {
			took, err := s.timed(ctx, tile(rows, n))
			if err != nil && job.Fewer && n > 1 && outOfMemory(err) {
				n /= 2
				continue
			}
			if err != nil {
				return found, fmt.Errorf("scoring %d rows: %w", n, err)
			}
			found.Rows, found.BatchTime = n, took
			break
		}
	}
	return found, nil
}

// timed scores a batch and returns how long that took.
func (s *scorer) timed(ctx context.Context, batch *sdk.Batch) (time.Duration, error) {
	start := time.Now()
	err := s.Score(ctx, batch, make([]float64, batch.Rows()))
	return time.Since(start), err
}

// findShape runs the graph on two rows, or on as many as the graph takes, and binds
// the shape of the output.
func (s *scorer) findShape(rows *sdk.Batch) error {
	n := 2
	if s.bind.Fixed > 0 {
		n = s.bind.Fixed
	}
	batch := tile(rows, n)
	inputs, err := newTensors(&s.bind, batch, false)
	if err != nil {
		return err
	}
	defer func() { _ = inputs.destroy() }()
	if err := inputs.fill(&s.bind, batch); err != nil {
		return err
	}
	outputs := []ort.Value{nil}
	if err := s.session.Run(inputs.values, outputs); err != nil {
		return fmt.Errorf("scoring %d rows: %w", n, explain(err))
	}
	shape := outputs[0].GetShape()
	if err := outputs[0].Destroy(); err != nil {
		return fmt.Errorf("releasing the output: %w", err)
	}
	return s.bind.bindShape(shape, n)
}
