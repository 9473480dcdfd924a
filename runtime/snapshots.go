package runtime

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// snapshots keeps the states of stateful models, by version, in a directory; or
// in memory where there is none.
type snapshots struct {
	dir string

	mu     sync.Mutex
	memory map[string][]byte
}

// A snapshot begins with a line that names the artifact whose state it is and the
// checksum of the rest.
const snapshotHeader = "pynomaly snapshot 1 %s sha256:%x\n"

func snapshotOf(m *Model, state []byte) []byte {
	return append(fmt.Appendf(nil, snapshotHeader, m.Digest, sha256.Sum256(state)), state...)
}

func (s *snapshots) name(m *Model) string { return m.ID() + "@" + m.Version() + ".state" }

// write replaces the snapshot of a model's version.
func (s *snapshots) write(m *Model, state []byte) error {
	data := snapshotOf(m, state)
	if s.dir == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.memory[s.name(m)] = data
		return nil
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("making the directory of snapshots: %w", err)
	}
	f, err := os.CreateTemp(s.dir, ".snapshot-*")
	if err != nil {
		return fmt.Errorf("writing a snapshot: %w", err)
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.dir, s.name(m)))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing a snapshot: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// read returns the snapshot of a model's version; nil: there is none. The error
// says why one that is there cannot be used.
func (s *snapshots) read(m *Model) ([]byte, error) {
	var data []byte
	if s.dir == "" {
		s.mu.Lock()
		data = s.memory[s.name(m)]
		s.mu.Unlock()
		if data == nil {
			return nil, nil
		}
	} else {
		var err error
		if data, err = os.ReadFile(filepath.Join(s.dir, s.name(m))); errors.Is(err, os.ErrNotExist) {
			return nil, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading it: %w", err)
		}
	}
	_, state, _ := bytes.Cut(data, []byte("\n"))
	if !bytes.Equal(data, snapshotOf(m, state)) {
		return nil, errors.New("it is damaged, or of another artifact")
	}
	return state, nil
}

// takeState gives a stateful model that is about to serve the state of the one
// before it: that of the running model of the same version, else its snapshot.
// What is wrong with a snapshot is a warning: the model starts empty.
func (r *Registry) takeState(ctx context.Context, e *entry, m *Model) error {
	if !m.Manifest.Stateful {
		return nil
	}
	r.mu.Lock()
	before, closing := e.current, e.closing
	if before != nil {
		before.refs++
	}
	r.mu.Unlock()
	if before != nil {
		r.keepState(before.model)
		r.release(before)
	}
	if closing != nil { // it keeps its state when its last request has ended
		select {
		case <-closing.closed:
		case <-ctx.Done():
			m.abandon()
			return ctx.Err()
		}
	}
	state, err := r.states.read(m)
	if err == nil && state != nil {
		err = m.restore(ctx, state)
	}
	switch {
	case err != nil:
		m.Warnings = append(m.Warnings, fmt.Sprintf("it started empty: the snapshot of its state cannot be used: %v", err))
	case state == nil:
		m.Warnings = append(m.Warnings, "it started empty: there is no snapshot of the state of this version")
	default:
		r.cfg.Log.Info("state restored", "model_id", m.ID(), "version", m.Version(), "bytes", len(state))
	}
	return nil
}

// keepState takes a snapshot of a stateful model.
func (r *Registry) keepState(m *Model) {
	if !m.Manifest.Stateful {
		return
	}
	// Independent of the host's own end, which is when it matters most.
	ctx, cancel := context.WithTimeout(context.Background(), m.Manifest.Limits.LoadTimeout)
	defer cancel()
	state, err := m.Save(ctx)
	if err == nil && state != nil {
		err = r.states.write(m, state)
	}
	if err != nil {
		r.cfg.Log.Warn("the state of a model was not kept", "model_id", m.ID(), "version", m.Version(), "error", err)
	}
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
			h.refs++
			r.mu.Unlock()
			r.keepState(h.model)
			r.release(h)
		}
	}
}
