package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/guard"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// startLoad begins to load an entry, unless that is under way already. The
// registry is locked. With reserve the load needs a place in the cache, and
// evicts for it; nil: there is none.
func (r *Registry) startLoad(e *entry, reserve bool) *loading {
	if e.loading != nil {
		return e.loading
	}
	if r.closed || (reserve && !r.makeRoom(r.loadsUnderWay()+1, nil)) {
		return nil
	}
	l := &loading{done: make(chan struct{}), turn: make(chan struct{})}
	e.loading = l
	e.changed = r.cfg.Now()
	at := e.Location
	r.enqueue(l)
	r.wg.Go(func() {
		ctx := r.base // others may wait for this load, too
		model, took, err := r.inTurn(ctx, l, func() (*model.Model, error) { return r.open(ctx, e, at) })
		if err == nil && model != nil {
			if l.taken, err = r.takeState(ctx, e, model); err != nil {
				model.Abandon()
			}
		}
		r.finish(e, l, at, model, took, err)
	})
	return l
}

// open reads and opens the model of an entry; nil: the files are those that are
// loaded. The files must be those that the last look found settled: one that is
// being written again must not be taken for a change.
func (r *Registry) open(ctx context.Context, e *entry, at catalog.Location) (*model.Model, error) {
	r.mu.Lock()
	settled := e.fingerprint
	r.mu.Unlock()
	root, err := os.OpenRoot(r.cfg.Dir)
	if err != nil {
		return nil, catalog.NoDirectory(fmt.Errorf("%w: opening the models directory: %w", backends.ErrSurroundings, err))
	}
	defer root.Close()
	var held int64
	defer func() { r.reading.Release(held) }()
	c, err := catalog.Read(root, at, r.cfg.Policy, func(bytes int64) error {
		bytes = min(bytes, r.cfg.ReadBytes)
		if err := r.reading.Acquire(ctx, bytes); err != nil {
			return fmt.Errorf("waiting for the files of other models: %w", err)
		}
		held = bytes
		return nil
	})
	if now, lookErr := catalog.Look(root, at); lookErr == nil && now != settled {
		return nil, fmt.Errorf("%s %w", at.Path(), catalog.ErrUnsettled)
	}
	if err != nil {
		return nil, err
	}
	if o := r.only(at.ID, at.Version); o != nil && o.Digest != "" && o.Digest != c.ContentDigest() {
		return nil, fmt.Errorf("%w: its contents have digest %s; models.only asks for %s", model.ErrConflict, c.ContentDigest(), o.Digest)
	}
	if same, err := r.unchanged(e, c); same || err != nil {
		return nil, err
	}
	var m *model.Model
	err = guard.Call(func() (err error) {
		m, err = model.Open(ctx, c, r.backends, r.calls)
		return err
	})
	var p *guard.PanicError
	if errors.As(err, &p) {
		err = model.Refusal(c.Manifest.Backend, err)
	}
	if m != nil {
		m.LogTo(r.cfg.Log, r.cfg.Now)
	}
	return m, err
}

// loadsUnderWay counts the loads that will take a place of their own.
func (r *Registry) loadsUnderWay() int {
	n := 0
	for _, e := range r.entries {
		if e.loading != nil && e.current == nil {
			n++
		}
	}
	return n
}

// unchanged reports whether the files that were read are the ones already
// loaded, and refuses a new artifact under an immutable version.
func (r *Registry) unchanged(e *entry, c *catalog.Contents) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := e.last
	if last == nil {
		return false, nil
	}
	if e.current != nil && last.ContentDigest() == c.ContentDigest() {
		return true, nil
	}
	if last.Digest != c.Digest {
		if r.cfg.Immutable {
			return false, fmt.Errorf("%w: the artifact changed from %s to %s under the same version, and models.immutable is set: give it a new version", model.ErrConflict, last.Digest, c.Digest)
		}
		r.cfg.Log.Warn("artifact changed under the same version", "model_id", e.ID, "version", e.Version, "from", last.Digest, "to", c.Digest)
	}
	return false, nil
}

// finish swaps a model in that was opened; what ran before goes on where that
// failed.
func (r *Registry) finish(e *entry, l *loading, at catalog.Location, m *model.Model, took time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.loading, l.err, e.changed = nil, err, r.cfg.Now()
	switch {
	case errors.Is(err, catalog.ErrUnsettled): // the next look will find it changed
		if !e.pending {
			e.fingerprint = ""
		}
		if e.current == nil && e.failed == nil {
			e.unread = err
		}
	case err != nil:
		if !e.gone && !r.closed {
			r.fail(e, err)
		}
	case m == nil: // the same files as before
		e.failed = nil
	case e.gone || r.closed || e.unloaded:
		if l.taken != nil {
			l.taken.End(nil)
		}
		h := r.newHandle(m)
		h.retired, h.replaced = true, true
		r.closeIfIdle(h)
		l.err = &model.UnavailableError{ID: at.ID, Version: at.Version, Reason: "it was removed or unloaded while it was loading", RetryAfter: model.RetryAfter}
	default:
		r.install(e, m, l.taken)
		r.cfg.Observe.Loaded(m, took)
		r.cfg.Log.Info("model loaded", "model_id", e.ID, "version", e.Version, "digest", m.Digest,
			"took_ms", took.Milliseconds(), "bytes", m.Bytes(), "warnings", m.Warnings)
	}
	if l.err == nil && e.current != nil {
		l.opened = e.current
		l.opened.refs += l.waits
	}
	l.over = true
	close(l.done)
	if e.pending && !e.gone && !r.closed {
		e.pending = false
		r.startLoad(e, e.current == nil)
	}
	r.settle()
}

// install makes a model the current one of its entry. It may take over the state of the
// one that runs.
func (r *Registry) install(e *entry, model *model.Model, taken *model.Handover) {
	if old := e.last; old != nil && slices.Equal(old.Stats.Edges(), model.Stats.Edges()) {
		model.Stats = old.Stats // counters go on over an unload and a change
	}
	h := r.newHandle(model)
	model.Retain(func() func() { return r.retain(h) })
	if taken != nil {
		if old := e.current; old != nil { // calls that it has not begun go on in the new one
			old.replaced, old.next = old.model.Gives(taken), h
			h.refs++
		}
		taken.End(model)
	}
	r.retire(e)
	e.current, e.last, e.failed, e.unloaded = h, model, nil, false
	r.arrived(e)
	r.bytes += model.Bytes()
	r.lru.Add(e, struct{}{})
	if model.Manifest.Stateful {
		r.wg.Go(func() { r.keepStates(h) })
	}
	if !r.makeRoom(r.loadsUnderWay(), e) {
		r.cfg.Log.Warn("the loaded models need more memory than models.cache_bytes; all of them are in use or pinned", "bytes", r.bytes)
	}
}

func (r *Registry) retain(h *handle) func() {
	r.mu.Lock()
	h.refs++
	r.mu.Unlock()
	return func() { r.release(h) }
}

func (r *Registry) release(h *handle) {
	r.mu.Lock()
	h.refs--
	r.closeIfIdle(h)
	r.mu.Unlock()
}

// makeRoom evicts the models that were used longest ago until so many more fit,
// never except; false: the rest are leased or pinned.
func (r *Registry) makeRoom(more int, except *entry) bool {
	fits := func() bool {
		return r.lru.Len()+more <= r.cfg.CacheSize && (r.cfg.CacheBytes == 0 || r.bytes <= r.cfg.CacheBytes)
	}
	if fits() {
		return true
	}
	for _, e := range r.lru.Keys() { // oldest first
		if e == except || e.current.refs > 0 || r.matches(r.cfg.Pinned, e.ID) {
			continue
		}
		r.cfg.Log.Info("model evicted", "model_id", e.ID, "version", e.Version)
		e.changed = r.cfg.Now()
		r.retire(e)
		if fits() {
			return true
		}
	}
	return false
}
