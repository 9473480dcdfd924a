package wasm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// stateful is a scorer whose only instance remembers rows. If the instance is lost,
// the next one starts from the last snapshot that was saved or loaded.
type stateful struct {
	*scorer
	log      *slog.Logger
	snapshot []byte // nil: none; calls come one at a time
	resets   atomic.Uint64
}

// Resets implements sdk.Resetter.
func (s *stateful) Resets() uint64 { return s.resets.Load() }

// statefulExplainer is a stateful scorer whose module explains its scores.
type statefulExplainer struct {
	*stateful
	explainer explainer
}

// Explain implements sdk.Explainer.
func (s *statefulExplainer) Explain(ctx context.Context, in *sdk.Batch, out []float64) error {
	return s.explainer.Explain(ctx, in, out)
}

// maxState is the largest size of a snapshot.
const maxState = 64 << 20

func newStateful(s *scorer, log *slog.Logger, m *manifest.Manifest) *stateful {
	st := &stateful{scorer: s, log: log.With("model_id", m.ID, "version", m.Version)}
	s.revive = st.revive
	return st
}

// revive gives a new instance the state of the last snapshot.
func (s *stateful) revive(ctx context.Context, i *instance) error {
	s.resets.Add(1)
	if s.snapshot == nil {
		s.log.Warn("the instance of a stateful plugin was lost; there is no snapshot, so the new one starts empty")
		return nil
	}
	s.log.Warn("the instance of a stateful plugin was lost; the new one starts from the last snapshot", "bytes", len(s.snapshot))
	err := s.restore(ctx, i, s.snapshot)
	if err != nil && ctx.Err() == nil {
		s.snapshot = nil
		s.log.Warn("the last snapshot cannot be loaded; the next instance starts empty", "error", err)
	}
	return err
}

// Learn implements sdk.Learner. It learns all rows, or none if one cannot be
// converted.
func (s *stateful) Learn(ctx context.Context, in *sdk.Batch) error {
	if in.Rows() == 0 {
		return nil
	}
	i, err := s.get(ctx)
	if err != nil {
		return err
	}
	defer s.put(i)
	if _, ok := i.functions[exportLearn]; !ok {
		return fmt.Errorf("the module does not export %s: %w", exportLearn, errors.ErrUnsupported)
	}
	size := s.inputBytes(in)
	if err := i.reserve(ctx, &i.in, size, i.out); err != nil {
		return err
	}
	view, err := i.view(i.in.at, uint32(size))
	if err != nil {
		return err
	}
	if failed := s.write(view, in); failed != nil {
		return &sdk.RowErrors{Rows: failed}
	}
	status, err := i.call(ctx, exportLearn, uint64(i.in.at), uint64(in.Rows()), uint64(len(s.info.Features)))
	if err != nil {
		return err
	}
	return i.check(ctx, exportLearn, status)
}

// Save implements sdk.Snapshotter.
func (s *stateful) Save(ctx context.Context) ([]byte, error) {
	i, err := s.get(ctx)
	if err != nil {
		return nil, err
	}
	defer s.put(i)
	if _, ok := i.functions[exportSave]; !ok {
		return nil, fmt.Errorf("the module does not export %s: %w", exportSave, errors.ErrUnsupported)
	}
	state, err := i.packed(ctx, exportSave, maxState)
	if err != nil {
		return nil, err
	}
	if state == nil {
		return nil, fmt.Errorf("the module returns no snapshot: %w", errors.ErrUnsupported)
	}
	s.snapshot = state
	return append([]byte(nil), state...), nil
}

// Load implements sdk.Snapshotter. If it fails, the instance is lost, and the next
// one starts in the former state.
func (s *stateful) Load(ctx context.Context, state []byte) error {
	i, err := s.get(ctx)
	if err != nil {
		return err
	}
	defer s.put(i)
	if err := s.restore(ctx, i, state); err != nil {
		if i.lost == nil {
			i.lost = err // it may have loaded a part of the state
		}
		return err
	}
	s.snapshot = append([]byte(nil), state...)
	return nil
}

// restore loads a state into an instance.
func (s *stateful) restore(ctx context.Context, i *instance, state []byte) error {
	if _, ok := i.functions[exportLoad]; !ok {
		return fmt.Errorf("the module does not export %s: %w", exportLoad, errors.ErrUnsupported)
	}
	if len(state) == 0 || len(state) > maxState {
		return fmt.Errorf("a snapshot of %d bytes cannot be loaded", len(state))
	}
	b, err := i.alloc(ctx, uint32(len(state)), i.in, i.out)
	if err != nil {
		return err
	}
	view, err := i.view(b.at, b.size)
	if err != nil {
		return err
	}
	copy(view, state)
	status, err := i.call(ctx, exportLoad, uint64(b.at), uint64(b.size))
	if err == nil {
		err = i.check(ctx, exportLoad, status)
	}
	if err != nil {
		return fmt.Errorf("loading a snapshot: %w", err)
	}
	return i.free(ctx, b)
}

var (
	_ sdk.Learner     = (*stateful)(nil)
	_ sdk.Snapshotter = (*stateful)(nil)
	_ sdk.Resetter    = (*stateful)(nil)
	_ sdk.MemoryUser  = (*stateful)(nil)
	_ sdk.Explainer   = (*statefulExplainer)(nil)
)
