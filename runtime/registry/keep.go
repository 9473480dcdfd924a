package registry

import (
	"context"
	"fmt"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// takeState restores m's state from the running model of the same version, and
// returns that handover, or from its snapshot. A problem with a snapshot is a
// warning: the model then starts as its files define.
func (r *Registry) takeState(ctx context.Context, e *entry, m *model.Model) (taken *model.Handover, err error) {
	if !m.Manifest.Stateful {
		return nil, nil
	}
	r.mu.Lock()
	before, closing := e.current, r.closing[e.Key()]
	if before != nil {
		r.use(before, useLease)
	}
	r.mu.Unlock()
	if closing != nil { // it keeps its state when its last request has ended
		select {
		case <-closing.closed:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if before != nil {
		defer r.release(before)
		if err == nil && before.model.Digest == m.Digest {
			taken = model.NewHandover()
			// If the host prevents it now, the state would be lost, so the old model
			// continues.
			if err = r.keep(before.model, taken); batching.IsHost(err) {
				taken.End(nil)
				return nil, fmt.Errorf("%w: taking over the state of the running model: %w", backends.ErrSurroundings, err)
			}
			err = nil
		}
	}
	if err != nil {
		return nil, err
	}
	state, err := r.states.Read(m)
	if err == nil && state != nil {
		err = m.Restore(ctx, state)
	}
	switch {
	case err != nil:
		m.Warnings = append(m.Warnings, fmt.Sprintf("it started without its state: the snapshot cannot be used: %v%s", err, r.states.PutAside(m)))
	case state == nil:
		m.Warnings = append(m.Warnings, "it started as its files leave it: there is no snapshot of the state of this version's artifact")
	default:
		r.cfg.Log.Info("state restored", "model_id", m.ID(), "version", m.Version(), "bytes", len(state))
	}
	return taken, nil
}

// keepState takes a snapshot of a stateful model.
func (r *Registry) keepState(m *model.Model) error { return r.keep(m, nil) }

// keep takes a snapshot. With a handover it is the last one of this model.
func (r *Registry) keep(m *model.Model, to *model.Handover) error {
	if !m.Manifest.Stateful {
		return nil
	}
	// Do not use the host's context: its end is when snapshots matter most.
	ctx, cancel := context.WithTimeout(context.Background(), m.Manifest.Limits.LoadTimeout)
	defer cancel()
	state, err := m.Save(ctx, to)
	if err == nil && state != nil {
		err = r.states.Write(m, state)
	}
	if err != nil {
		err = fmt.Errorf("keeping the state of %s %s: %w", m.ID(), m.Version(), err)
		r.cfg.Log.Warn("the state of a model was not kept", "model_id", m.ID(), "version", m.Version(), "error", err)
	}
	return err
}

// keepStates takes a snapshot every snapshot_interval until the model is retired.
func (r *Registry) keepStates(h *handle) {
	t := time.NewTicker(h.model.Manifest.SnapshotEvery)
	defer t.Stop()
	for {
		select {
		case <-h.stop:
			return
		case <-t.C:
			r.mu.Lock()
			if h.retired {
				r.mu.Unlock()
				return
			}
			r.use(h, useLease)
			r.mu.Unlock()
			_ = r.keepState(h.model) // logged; the next one may succeed
			r.release(h)
		}
	}
}
