package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Stateful models: calls come one at a time, in order, and what the detector has
// learned outlives an unload.

// scoreInOrder scores the rows of a stateful model in one turn: no other request
// comes between them. With learning: online each row is learned once it has been
// scored. All of it shares one limits.timeout.
func (m *Model) scoreInOrder(ctx context.Context, in *sdk.Batch, chunk int, out []float64) ([]sdk.RowError, error) {
	var failed []sdk.RowError
	err := m.slots.run(ctx, func(ctx context.Context) error {
		if m.Manifest.LearnOnline {
			chunk = 1
		}
		for from := 0; from < in.Rows(); from += chunk {
			to := min(from+chunk, in.Rows())
			part := in.Slice(from, to)
			err := m.scorer.Score(ctx, part, out[from:to])
			var bad *sdk.RowErrors
			if errors.As(err, &bad) {
				for _, e := range bad.Rows {
					e.Row += from
					failed = append(failed, e)
				}
			} else if err != nil {
				return err
			}
			if m.Manifest.LearnOnline && bad == nil && finite(out[from]) {
				if err := m.learn(ctx, part); err != nil {
					return err
				}
			}
		}
		return nil
	})
	switch {
	case err == nil:
		return failed, nil
	case isHostError(err):
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", ErrScoring, err)
}

// learn lets the detector learn rows, in a slot that the caller holds.
func (m *Model) learn(ctx context.Context, in *sdk.Batch) error {
	learner, ok := m.scorer.(sdk.Learner)
	if !ok {
		return fmt.Errorf("the detector does not learn: %w", errors.ErrUnsupported)
	}
	if err := learner.Learn(ctx, in); err != nil {
		return fmt.Errorf("learning: %w", err)
	}
	return nil
}

// ErrNotLearning means that a model does not learn.
var ErrNotLearning = fmt.Errorf("%w: the model does not learn: only stateful models whose detector can do", ErrConflict)

// Learn lets a stateful model learn rows, in order.
func (m *Model) Learn(ctx context.Context, in *sdk.Batch) error {
	if _, ok := m.scorer.(sdk.Learner); !ok || !m.Manifest.Stateful {
		return ErrNotLearning
	}
	err := m.slots.run(ctx, func(ctx context.Context) error { return m.learn(ctx, in) })
	var rows *sdk.RowErrors
	switch {
	case err == nil, errors.As(err, &rows), isHostError(err):
		return err
	case errors.Is(err, errors.ErrUnsupported):
		return ErrNotLearning
	}
	return fmt.Errorf("%w: %w", ErrScoring, err)
}

// Save returns the state of a stateful model; nil: it has none to keep.
func (m *Model) Save(ctx context.Context) ([]byte, error) {
	saver, ok := m.scorer.(sdk.Snapshotter)
	if !ok || !m.Manifest.Stateful {
		return nil, nil
	}
	var state []byte
	err := m.slots.run(ctx, func(ctx context.Context) error {
		var err error
		state, err = saver.Save(ctx)
		return err
	})
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("taking a snapshot: %w", err)
	}
	return state, nil
}

// restore gives a stateful model a state that Save returned.
func (m *Model) restore(ctx context.Context, state []byte) error {
	saver, ok := m.scorer.(sdk.Snapshotter)
	if !ok {
		return errors.ErrUnsupported
	}
	return m.slots.run(ctx, func(ctx context.Context) error { return saver.Load(ctx, state) })
}
