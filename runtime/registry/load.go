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

// startLoad begins to load an entry, or returns the load in progress. The registry
// is locked. With reserve, the load needs room in the cache and evicts others for
// it; startLoad returns nil if there is none.
func (r *Registry) startLoad(e *entry, reserve bool) *loading {
	if e.loading {
		return e.load
	}
	if r.closed || (reserve && !r.makeRoom(r.loadsUnderWay()+1)) {
		r.step(e, event{kind: noRoom})
		return nil
	}
	if r.step(e, event{kind: started})&actOpen == 0 {
		return nil
	}
	l := &loading{done: make(chan struct{}), turn: make(chan struct{})}
	e.load = l
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

// open reads and opens the model of an entry. It returns nil if the files are those
// of the loaded model. The files must be those that the last scan found settled: a
// file that is being written must not count as a change.
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

// loadsUnderWay counts the loads that will need additional room.
func (r *Registry) loadsUnderWay() int {
	n := 0
	for _, e := range r.entries {
		if e.loading && !e.serving {
			n++
		}
	}
	return n
}

// unchanged reports whether the files are those of the loaded model. It refuses a
// new artifact for an immutable version.
func (r *Registry) unchanged(e *entry, c *catalog.Contents) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := e.facts
	if last == nil {
		return false, nil
	}
	if e.serving && last.Content == c.ContentDigest() {
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

// finish installs a model that was opened. If opening failed, the former one
// continues.
func (r *Registry) finish(e *entry, l *loading, at catalog.Location, m *model.Model, took time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.load, l.err = nil, err
	ev := event{kind: opened, err: err}
	switch {
	case errors.Is(err, catalog.ErrUnsettled):
		ev.kind = openUnsettled
	case err != nil:
		ev.kind = openFailed
	case m == nil:
		ev.kind = openedSame
	}
	do := r.step(e, ev)
	if do&actDiscard != 0 {
		r.discard(m, l.taken)
		l.err = &model.UnavailableError{ID: at.ID, Version: at.Version, Reason: "it was removed or unloaded while it was loading", RetryAfter: model.RetryAfter}
	}
	if do&actInstall != 0 {
		r.install(e, m, l.taken)
		r.cfg.Observe.Loaded(m, took)
		r.cfg.Log.Info("model loaded", "model_id", e.ID, "version", e.Version, "digest", m.Digest,
			"took_ms", took.Milliseconds(), "bytes", m.Bytes(), "engine", m.Engine().Name, "engine_detail", m.Engine().Detail, "warnings", m.Warnings)
	}
	if l.err == nil && e.serving {
		l.opened = e.current
		for range l.waits {
			r.use(l.opened, useLease)
		}
	}
	l.over = true
	close(l.done)
	if do&actLoad != 0 {
		r.startLoad(e, !e.serving)
	}
	r.settle()
}

// discard closes a model that came too late. The registry is locked.
func (r *Registry) discard(m *model.Model, taken *model.Handover) {
	if taken != nil {
		taken.End(nil)
	}
	h := r.newHandle(m)
	h.replaced = true
	r.use(h, useRetire)
}

// install makes a model the current one of its entry. It may take over the state of
// the running one.
func (r *Registry) install(e *entry, model *model.Model, taken *model.Handover) {
	if old := e.facts; old != nil && slices.Equal(old.Stats.Edges(), model.Stats.Edges()) {
		model.Stats = old.Stats // counters survive an unload and a change
	}
	h := r.newHandle(model)
	model.Retain(func() func() { return r.retain(h) })
	if taken != nil {
		if old := e.current; old != nil { // calls that have not begun continue in the new one
			old.replaced, old.next = old.model.Gives(taken), h
			r.use(h, useLease)
		}
		taken.End(model)
	}
	r.retire(e)
	e.current, e.facts = h, factsOf(model)
	r.arrived(e)
	r.bytes += model.Bytes()
	r.lru.Add(e, struct{}{})
	if model.Manifest.Stateful {
		r.wg.Go(func() { r.keepStates(h) })
	}
	chosen, fits := r.evictable(r.loadsUnderWay(), e)
	r.evict(chosen)
	if !fits {
		r.cfg.Log.Warn("the loaded models need more memory than models.cache_bytes; all of them are in use or pinned", "bytes", r.bytes)
	}
}

func (r *Registry) retain(h *handle) func() {
	r.mu.Lock()
	r.use(h, useLease)
	r.mu.Unlock()
	return func() { r.release(h) }
}

func (r *Registry) release(h *handle) {
	r.mu.Lock()
	r.use(h, useRelease)
	r.mu.Unlock()
}

// makeRoom evicts the models that were used longest ago until the given number fits.
// It returns false, and evicts none, if the others are leased or pinned.
func (r *Registry) makeRoom(more int) bool {
	chosen, fits := r.evictable(more, nil)
	if fits {
		r.evict(chosen)
	}
	return fits
}

// evictable chooses the entries to evict for the given number of others. It never
// chooses except, or an entry that is loading, which would come back.
func (r *Registry) evictable(more int, except *entry) (chosen []*entry, fits bool) {
	if r.lru.Len()+more <= r.cfg.CacheSize && (r.cfg.CacheBytes == 0 || r.bytes <= r.cfg.CacheBytes) {
		return nil, true
	}
	order := r.lru.Keys() // oldest first
	all := make([]resident, len(order))
	for i, e := range order {
		all[i] = resident{leases: e.current.leases, pinned: e == except || e.loading || r.matches(r.cfg.Pinned, e.ID), bytes: e.current.model.Bytes()}
	}
	at, fits := room{versions: r.cfg.CacheSize, bytes: r.cfg.CacheBytes}.evict(all, more)
	for _, i := range at {
		chosen = append(chosen, order[i])
	}
	return chosen, fits
}

func (r *Registry) evict(chosen []*entry) {
	for _, e := range chosen {
		r.cfg.Log.Info("model evicted", "model_id", e.ID, "version", e.Version)
		r.step(e, event{kind: evicted})
	}
}
