package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"

	"github.com/pynomaly/pynomaly-runtime/backends"
)

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
		var change *loading // of what runs
		if e.failed != nil && manifest.ValidVersion(e.Version) {
			if e.current != nil {
				change = r.startLoad(e, false)
				r.hurry(change)
			}
			e.failed = nil
		}
		r.mu.Unlock()
		if change != nil {
			select {
			case <-change.done: // whatever comes of it, a version runs
			case <-ctx.Done():
			}
		}
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
func (l *Lease) Model() *model.Model { return l.handle.model }

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
	var unavailable *model.UnavailableError
	if errors.As(first, &unavailable) {
		return nil, unavailable
	}
	if first == nil {
		first = errors.New("it has no version")
	}
	return nil, &model.UnavailableError{ID: id, Reason: first.Error(), Public: backends.PublicText(first), RetryAfter: model.RetryAfter}
}

// acquire leases one entry, loading it where needed.
func (r *Registry) acquire(ctx context.Context, e *entry) (*Lease, error) {
	for {
		r.mu.Lock()
		if e.current != nil {
			defer r.mu.Unlock()
			return r.lease(e), nil
		}
		now := r.cfg.Now()
		unavailable := func(reason string) error {
			return &model.UnavailableError{ID: e.ID, Version: e.Version, Reason: reason, RetryAfter: e.retryIn(now)}
		}
		var l *loading
		var err error
		switch {
		case r.closed:
			err = ErrShuttingDown
		case e.unloaded:
			err = unavailable("it was unloaded: load it with POST /api/v1/models/" + e.ID + "/load")
		case e.loading == nil && e.refusal(now) != nil:
			why := e.refusal(now)
			err = &model.UnavailableError{ID: e.ID, Version: e.Version, Reason: why.Error(), Public: backends.PublicText(why), RetryAfter: e.retryIn(now)}
		default:
			if l = r.startLoad(e, true); l == nil {
				err = unavailable("all loaded models are in use and the cache is full (models.cache_size, models.cache_bytes)")
			} else {
				r.hurry(l)
			}
		}
		r.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-l.done:
			if l.err != nil {
				return nil, r.unavailable(e, l.err)
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// unavailable says why an entry did not load, and when it is worth asking again.
func (r *Registry) unavailable(e *entry, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &model.UnavailableError{ID: e.ID, Version: e.Version, Reason: err.Error(), Public: backends.PublicText(err), RetryAfter: e.retryIn(r.cfg.Now())}
}
