package model

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Stateful models: calls come one at a time, in order, and the detector's state
// outlives an unload.

// rowsInOrder is how many rows a stateful model scores in one call.
const rowsInOrder = 256

// scoreInOrder scores the rows of a stateful model in one turn, without rows of
// other requests in between. With learning: online each row is learned after it has
// been scored. All calls share one limits.timeout, which is checked between them:
// only a single call that takes that long costs the detector its state.
func (m *Model) scoreInOrder(ctx context.Context, in *sdk.Batch, chunk int, out []float64) ([]sdk.RowError, error) {
	fillNaN(out) // still NaN means not scored
	if chunk <= 0 {
		chunk = rowsInOrder
	}
	var failed []sdk.RowError
	err := m.inTurn(ctx, func(ctx context.Context, m *Model) error {
		chunk := min(chunk, rowsInOrder, m.Manifest.Limits.MaxBatchRows)
		if m.Manifest.LearnOnline {
			chunk = 1
		}
		for from := 0; from < in.Rows(); from += chunk {
			if from > 0 {
				if err := batching.HasLeft(ctx); err != nil {
					return fmt.Errorf("after %d of %d rows: %w", from, in.Rows(), err)
				}
			}
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("after %d of %d rows: %w", from, in.Rows(), err)
			}
			to := min(from+chunk, in.Rows())
			part := in.Slice(from, to)
			err := m.unhurried(ctx, func(ctx context.Context) error { return m.scorer.Score(ctx, part, out[from:to]) })
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
				if err := m.unhurried(ctx, func(ctx context.Context) error { return m.learn(ctx, part) }); err != nil {
					return err
				}
			}
		}
		return nil
	})
	switch {
	case err == nil:
		return failed, nil
	case batching.IsHost(err):
		return nil, err
	}
	return nil, batching.AsScoring(err)
}

// unhurried makes one call with its own limits.timeout: a detector that is stopped
// during a row loses what it has learned.
func (m *Model) unhurried(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.Manifest.Limits.Timeout)
	defer cancel()
	return call(ctx)
}

// Handover moves the state of a stateful model to the one that replaces it.
type Handover struct {
	done chan struct{} // closed when it is decided
	to   *Model        // nil: it did not take place
}

// NewHandover returns an undecided handover.
func NewHandover() *Handover { return &Handover{done: make(chan struct{})} }

// End decides the handover. Waiting calls continue in the model to or, if it is nil,
// in the former one.
func (h *Handover) End(to *Model) {
	h.to = to
	close(h.done)
}

var errHandedOver = errors.New("the state is handed over")

// Gives reports whether h is the handover that passes on the state.
func (m *Model) Gives(h *Handover) bool { return m.given.Load() == h }

// HandedOver reports whether another model has the state now.
func (m *Model) HandedOver() bool {
	h := m.given.Load()
	if h == nil {
		return false
	}
	select {
	case <-h.done:
		return h.to != nil
	default:
		return false
	}
}

// inTurn makes one call of a stateful model, or of the model that has its state when
// the call's turn comes.
func (m *Model) inTurn(ctx context.Context, call func(context.Context, *Model) error) error {
	for {
		var given *Handover
		err := m.slots.Run(ctx, func(ctx context.Context) error {
			if h := m.given.Load(); h != nil {
				given = h
				return errHandedOver
			}
			return call(ctx, m)
		})
		if !errors.Is(err, errHandedOver) {
			return err
		}
		select {
		case <-given.done:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the model that takes the state over: %w", ctx.Err())
		}
		switch to := given.to; {
		case to == nil:
			m.given.CompareAndSwap(given, nil)
		case !slices.Equal(m.schema.Features(), to.schema.Features()):
			return &UnavailableError{ID: m.ID(), Version: m.Version(), RetryAfter: RetryAfter, Reason: "its features changed while the request waited: send it again"}
		default:
			m = to
		}
	}
}

// learn makes the detector learn rows, in a slot that the caller holds.
func (m *Model) learn(ctx context.Context, in *sdk.Batch) error {
	if m.can.learner == nil {
		return fmt.Errorf("the detector does not learn: %w", errors.ErrUnsupported)
	}
	if err := m.can.learner.Learn(ctx, in); err != nil {
		return fmt.Errorf("learning: %w", err)
	}
	return nil
}

// ErrNotLearning means that a model does not learn.
var ErrNotLearning = fmt.Errorf("%w: the model does not learn: only stateful models whose detector can do", ErrConflict)

// Learn makes a stateful model learn rows, in order.
func (m *Model) Learn(ctx context.Context, in *sdk.Batch) error {
	if m.can.learner == nil || !m.Manifest.Stateful {
		return ErrNotLearning
	}
	rows := in.Rows()
	if err := m.slots.Calls().Admit(rows); err != nil {
		return err
	}
	err := m.inTurn(ctx, func(ctx context.Context, m *Model) error {
		return m.unhurried(ctx, func(ctx context.Context) error { return m.learn(ctx, in) })
	})
	m.slots.Calls().Dismiss(rows)
	var failed *sdk.RowErrors
	switch {
	case err == nil, errors.As(err, &failed), batching.IsHost(err):
		return err
	case errors.Is(err, errors.ErrUnsupported):
		return ErrNotLearning
	}
	return batching.AsScoring(err)
}

// Resets returns how often a stateful model has lost what it learned since its last
// snapshot.
func (m *Model) Resets() uint64 {
	if m.can.resetter != nil {
		return m.can.resetter.Resets()
	}
	return 0
}

// Save returns the state of a stateful model, or nil if it has none to keep. With a
// handover, later calls wait until it is decided, so that their rows are not lost.
func (m *Model) Save(ctx context.Context, h *Handover) ([]byte, error) {
	if m.can.saver == nil || !m.Manifest.Stateful {
		return nil, nil
	}
	var state []byte
	err := m.slots.Run(ctx, func(ctx context.Context) error {
		var err error
		state, err = m.can.saver.Save(ctx)
		if err == nil && h != nil {
			m.given.Store(h)
		}
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

// Restore gives a stateful model a state that Save returned.
func (m *Model) Restore(ctx context.Context, state []byte) error {
	if m.can.saver == nil {
		return errors.ErrUnsupported
	}
	return m.slots.Run(ctx, func(ctx context.Context) error { return m.can.saver.Load(ctx, state) })
}
