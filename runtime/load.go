package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/manifest"
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
	l := &loading{done: make(chan struct{})}
	e.loading = l
	e.changed = r.cfg.Now()
	at := e.Location
	ctx := r.base // others may wait for this load, too
	r.wg.Go(func() {
		r.load(e, l, at, func() (*Model, error) {
			root, err := os.OpenRoot(r.cfg.Dir)
			if err != nil {
				return nil, fmt.Errorf("opening the models directory: %w", err)
			}
			defer root.Close()
			c, err := read(root, at)
			if err != nil {
				return nil, err
			}
			if o := r.only(at.ID, at.Version); o != nil && o.Digest != "" && o.Digest != c.content() {
				return nil, fmt.Errorf("%w: its contents have digest %s; models.only asks for %s", ErrConflict, c.content(), o.Digest)
			}
			if same, err := r.unchanged(e, c); same || err != nil {
				return nil, err
			}
			model, err := open(ctx, c, r.backends, r.calls)
			if err != nil {
				return nil, err
			}
			if err := r.takeState(ctx, e, model); err != nil {
				model.abandon()
				return nil, err
			}
			return model, nil
		})
	})
	return l
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
func (r *Registry) unchanged(e *entry, c *contents) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := e.last
	if last == nil {
		return false, nil
	}
	if e.current != nil && last.identity == c.identity {
		return true, nil
	}
	if last.Digest != c.digest {
		if r.cfg.Immutable {
			return false, fmt.Errorf("%w: the artifact changed from %s to %s under the same version, and models.immutable is set: give it a new version", ErrConflict, last.Digest, c.digest)
		}
		r.cfg.Log.Warn("artifact changed under the same version", "model_id", e.ID, "version", e.Version, "from", last.Digest, "to", c.digest)
	}
	return false, nil
}

// load opens a model and swaps it in; what ran before goes on where it fails.
func (r *Registry) load(e *entry, l *loading, at Location, open func() (*Model, error)) {
	start := r.cfg.Now()
	model, err := open()
	r.mu.Lock()
	defer r.mu.Unlock()
	e.loading, l.err, e.changed = nil, err, r.cfg.Now()
	switch {
	case err != nil:
		e.err = err
		if !e.gone {
			r.failed(e, err)
		}
	case model == nil: // the same files as before
		e.err = nil
	case e.gone || r.closed || e.unloaded:
		if model.taken != nil {
			model.taken.end(nil)
		}
		h := r.newHandle(model)
		h.retired, h.replaced = true, true
		r.closeIfIdle(h)
		l.err = &UnavailableError{ID: at.ID, Version: at.Version, Reason: "it was removed or unloaded while it was loading", RetryAfter: retryAfter}
	default:
		r.install(e, model)
		r.readyIfComplete()
		took := r.cfg.Now().Sub(start)
		r.cfg.Observe.Loaded(model, took)
		r.cfg.Log.Info("model loaded", "model_id", e.ID, "version", e.Version, "digest", model.Digest,
			"took_ms", took.Milliseconds(), "bytes", model.bytes, "warnings", model.Warnings)
	}
	close(l.done)
	if e.pending && !e.gone && !r.closed {
		e.pending = false
		r.startLoad(e, e.current == nil)
	}
}

// install makes a model the current one of its entry.
func (r *Registry) install(e *entry, model *Model) {
	if old := e.last; old != nil && slices.Equal(old.Stats.edges, model.Stats.edges) {
		model.Stats = old.Stats // counters go on over an unload and a change
	}
	h := r.newHandle(model)
	model.slots.retain = func() func() { return r.retain(h) }
	if taken := model.taken; taken != nil {
		if old := e.current; old != nil { // calls that it has not begun go on in the new one
			old.replaced, old.next = old.model.given.Load() == taken, h
			h.refs++
		}
		taken.end(model)
	}
	r.retire(e)
	e.current, e.last, e.err, e.unloaded = h, model, nil, false
	r.fulfil(e)
	r.bytes += model.bytes
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

// Load loads a version, waiting for it until ctx ends. Without a version it is the
// newest one that loads; an alias will do, too.
func (r *Registry) Load(ctx context.Context, id, version string) (*Lease, error) {
	r.mu.Lock()
	if len(r.byID[id]) == 0 {
		defer r.mu.Unlock()
		return nil, r.notFound(id)
	}
	var chosen []*entry
	if _, named := r.aliases[id].Names[version]; version == "" || (version == Latest && !named) {
		chosen = r.releasesFirst(id)
	} else {
		var err error
		if chosen, err = r.resolveVersion(id, version, ""); err != nil {
			r.mu.Unlock()
			return nil, err
		}
	}
	r.mu.Unlock()
	var first error
	for _, e := range chosen {
		r.mu.Lock()
		unloaded := e.unloaded
		e.unloaded = false
		if e.current == nil && manifest.ValidVersion(e.Version) {
			e.err = nil
		}
		r.mu.Unlock()
		lease, err := r.acquireFirst(ctx, id, []*entry{e})
		if err == nil {
			return lease, nil
		}
		r.mu.Lock()
		e.unloaded = e.unloaded || unloaded
		r.mu.Unlock()
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// Unload unloads one version of a model, which may be named by an alias, or all
// of them. They stay unloaded until Load or a restart.
func (r *Registry) Unload(id, version string) (unloaded []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.byID[id]
	if len(list) == 0 {
		return nil, r.notFound(id)
	}
	if version != "" {
		if list, err = r.resolveVersion(id, version, ""); err != nil {
			return nil, err
		}
		list = list[:1]
	}
	for _, e := range list {
		if e.current != nil {
			unloaded = append(unloaded, e.Version)
		}
		e.unloaded, e.changed = true, r.cfg.Now()
		r.retire(e)
		r.cfg.Log.Info("model unloaded", "model_id", e.ID, "version", e.Version)
	}
	return unloaded, nil
}

// Lease keeps a loaded model from being closed until Release.
type Lease struct {
	registry *Registry
	handle   *handle
}

// Model is the leased model.
func (l *Lease) Model() *Model { return l.handle.model }

// Release ends the lease. It is called once.
func (l *Lease) Release() { l.registry.release(l.handle) }

// lease takes a loaded entry. The registry is locked.
func (r *Registry) lease(e *entry) *Lease {
	e.current.refs++
	r.lru.Get(e)
	return &Lease{registry: r, handle: e.current}
}

// acquireFirst leases the first of the entries that is loaded or can be.
func (r *Registry) acquireFirst(ctx context.Context, id string, candidates []*entry) (*Lease, error) {
	var first error
	for _, e := range candidates {
		lease, err := r.acquire(ctx, e)
		if err == nil {
			return lease, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("waiting for model %s to load: %w", id, ctx.Err())
		}
		if first == nil {
			first = err
		}
	}
	var unavailable *UnavailableError
	if errors.As(first, &unavailable) {
		return nil, unavailable
	}
	if first == nil {
		first = errors.New("it has no version")
	}
	return nil, &UnavailableError{ID: id, Reason: first.Error(), RetryAfter: retryAfter}
}

// acquire leases one entry, loading it where needed.
func (r *Registry) acquire(ctx context.Context, e *entry) (*Lease, error) {
	for {
		r.mu.Lock()
		if e.current != nil {
			defer r.mu.Unlock()
			return r.lease(e), nil
		}
		unavailable := func(reason string) error {
			return &UnavailableError{ID: e.ID, Version: e.Version, Reason: reason, RetryAfter: retryAfter}
		}
		var l *loading
		var err error
		switch {
		case r.closed:
			err = ErrShuttingDown
		case e.unloaded:
			err = unavailable("it was unloaded: load it with POST /api/v1/models/" + e.ID + "/load")
		case e.loading == nil && e.err != nil:
			err = unavailable(e.err.Error())
		default:
			if l = r.startLoad(e, true); l == nil {
				err = unavailable("all loaded models are in use and the cache is full (models.cache_size, models.cache_bytes)")
			}
		}
		r.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-l.done:
			if l.err != nil {
				return nil, unavailable(l.err.Error())
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
