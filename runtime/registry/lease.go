package registry

import (
	"context"
	"fmt"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"

	"github.com/pynomaly/pynomaly-runtime/backends"
)

// Load loads a version and waits for it until ctx ends. An alias may name it.
// Without a version, it loads the newest one whose files are not at fault.
func (r *Registry) Load(ctx context.Context, id, version string) (*Lease, error) {
	r.mu.Lock()
	if len(r.byID[id]) == 0 {
		defer r.mu.Unlock()
		return nil, r.notFound(id)
	}
	list := slices.Clone(r.byID[id]) // by manifest.NewestFirst
	if name := orLatest(version); !r.isLatest(id, name) {
		e, err := r.choose(id, name, false)
		if err != nil {
			r.mu.Unlock()
			return nil, err
		}
		list = []*entry{e}
	}
	r.mu.Unlock()
	var first error
	for _, e := range list {
		lease, err := r.loadOne(ctx, e)
		if err == nil {
			return lease, nil
		}
		if first == nil {
			first = err
		}
		r.mu.Lock()
		next := e.atFault()
		r.mu.Unlock()
		if ctx.Err() != nil || !next {
			break
		}
	}
	return nil, first
}

// isLatest reports whether a name means the newest version. The registry is locked.
func (r *Registry) isLatest(id, name string) bool {
	_, alias := r.aliases[id].target(name)
	return name == Latest && !alias
}

// loadOne loads a version on request, even if it failed before or was unloaded.
func (r *Registry) loadOne(ctx context.Context, e *entry) (*Lease, error) {
	r.mu.Lock()
	unloaded := e.unloaded
	var change *loading // of a running version
	if manifest.ValidVersion(e.Version) && r.step(e, event{kind: asked, arrives: r.arrives(e)})&actLoad != 0 {
		if change = r.startLoad(e, false); change != nil {
			r.hurry(change)
		}
	}
	r.mu.Unlock()
	if change != nil {
		select {
		case <-change.done: // whatever the outcome, a version runs
		case <-ctx.Done():
		}
	}
	lease, err := r.acquire(ctx, e)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.step(e, event{kind: declined, wanted: unloaded})
		if ctx.Err() != nil {
			err = fmt.Errorf("waiting for model %s to load: %w", e.ID, ctx.Err())
		}
	}
	r.settle()
	return lease, err
}

// Unload unloads one version of a model, which an alias may name, or all of them.
// They stay unloaded until Load or a restart.
func (r *Registry) Unload(id, version string) (unloaded []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.byID[id]
	if len(list) == 0 {
		return nil, r.notFound(id)
	}
	if version != "" {
		e, err := r.choose(id, version, false)
		if err != nil {
			return nil, err
		}
		list = []*entry{e}
	}
	for _, e := range list {
		if e.serving {
			unloaded = append(unloaded, e.Version)
		}
		r.step(e, event{kind: dismissed})
		r.cfg.Log.Info("model unloaded", "model_id", e.ID, "version", e.Version)
	}
	r.settle()
	return unloaded, nil
}

// Lease keeps a loaded model open until Release.
type Lease struct {
	registry *Registry
	handle   *handle
}

// Model returns the leased model.
func (l *Lease) Model() *model.Model { return l.handle.model }

// Release ends the lease. Call it once.
func (l *Lease) Release() { l.registry.release(l.handle) }

// lease leases a loaded entry. The registry is locked.
func (r *Registry) lease(e *entry) *Lease {
	r.use(e.current, useLease)
	r.lru.Get(e)
	return &Lease{registry: r, handle: e.current}
}

// acquire leases one entry, and loads it if necessary.
func (r *Registry) acquire(ctx context.Context, e *entry) (*Lease, error) {
	for {
		r.mu.Lock()
		if e.serving {
			defer r.mu.Unlock()
			return r.lease(e), nil
		}
		now := r.cfg.Now()
		unavailable := func(reason string) error {
			return &model.UnavailableError{ID: e.ID, Version: e.Version, Reason: reason, RetryAfter: e.tryAgain(now)}
		}
		var l *loading
		var err error
		switch {
		case r.closed:
			err = ErrShuttingDown
		case e.unloaded:
			err = unavailable("it was unloaded: load it with POST /api/v1/models/" + e.ID + "/load")
		case !e.loading && e.refusal(now) != nil:
			why := e.refusal(now)
			err = &model.UnavailableError{ID: e.ID, Version: e.Version, Reason: why.Error(), Public: backends.PublicText(why), RetryAfter: e.tryAgain(now)}
		default:
			if l = r.startLoad(e, true); l == nil {
				err = unavailable("all loaded models are in use and the cache is full (models.cache_size, models.cache_bytes)")
			} else {
				r.hurry(l)
				l.waits++
			}
		}
		r.mu.Unlock()
		if err != nil {
			return nil, err
		}
		select {
		case <-l.done:
		case <-ctx.Done():
			r.leave(l)
			return nil, ctx.Err()
		}
		if l.err != nil {
			return nil, r.unavailable(e, l.err)
		}
		if l.opened != nil {
			return &Lease{registry: r, handle: l.opened}, nil
		}
	}
}

// leave stops waiting for a load.
func (r *Registry) leave(l *loading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l.waits--
	if l.opened != nil {
		r.use(l.opened, useRelease)
	}
}

// unavailable returns why an entry did not load, and when to retry.
func (r *Registry) unavailable(e *entry, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &model.UnavailableError{ID: e.ID, Version: e.Version, Reason: err.Error(), Public: backends.PublicText(err), RetryAfter: e.tryAgain(r.cfg.Now())}
}
