package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/internal/nearest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// Acquire leases the model that answers a request, and loads it if necessary. An
// empty id means the default model, or the only one. An empty version means a name
// drawn by the model's weights, by key if there is one, or the newest version.
func (r *Registry) Acquire(ctx context.Context, id, version, key string) (*Lease, error) {
	r.mu.Lock()
	id, err := r.resolveID(id)
	if err != nil {
		r.mu.Unlock()
		return nil, err
	}
	name, drawn := version, version == ""
	if drawn {
		name = r.aliases[id].draw(key, r.cfg.Random)
	}
	e, err := r.choose(id, name, drawn)
	if err != nil {
		r.mu.Unlock()
		return nil, err
	}
	if e.serving { // the common case
		defer r.mu.Unlock()
		return r.lease(e), nil
	}
	r.mu.Unlock()
	return r.acquireNamed(ctx, id, name, drawn, e)
}

// acquireNamed leases the version of a name, which is e at present. If e does not
// load, the name may have another version by then.
func (r *Registry) acquireNamed(ctx context.Context, id, name string, drawn bool, e *entry) (*Lease, error) {
	for {
		lease, err := r.acquire(ctx, e)
		if err == nil {
			return lease, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("waiting for model %s to load: %w", id, ctx.Err())
		}
		r.mu.Lock()
		next, gone := r.choose(id, name, drawn)
		r.mu.Unlock()
		if gone != nil || next == e {
			return nil, err
		}
		e = next
	}
}

// ID returns the id of the model that a request means: id or, if that is empty, the
// default.
func (r *Registry) ID(id string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.resolveID(id)
}

func (r *Registry) resolveID(id string) (string, error) {
	if id == "" {
		id = r.cfg.Default
	}
	if id == "" {
		if len(r.byID) == 1 {
			for only := range r.byID {
				return only, nil
			}
		}
		if len(r.byID) == 0 {
			return "", r.noModels(everyone)
		}
		return "", fmt.Errorf("%w: set model_id to one of %s", ErrAmbiguousModel, joinSome(sortedKeys(r.byID)))
	}
	if len(r.byID[id]) == 0 {
		return "", r.notFound(id)
	}
	return id, nil
}

// notFound returns the error for a model that does not exist. The registry is
// locked.
func (r *Registry) notFound(id string) error {
	return &noModelError{id: id, known: slices.Collect(maps.Keys(r.byID))}
}

// noModelError says that a model does not exist. Its text names the nearest one. The
// text is made on demand, because that takes a while and requests wait for the
// registry's lock.
type noModelError struct {
	id    string
	known []string
}

func (e *noModelError) Error() string {
	return fmt.Sprintf("%v: there is no model %.80q%s", ErrModelNotFound, e.id, nearest.Hint(e.id, e.known))
}

func (e *noModelError) Unwrap() error { return ErrModelNotFound }

// choose returns the version of a model's name. A name of the configuration without
// a version is unavailable, whether a request names it or it was drawn. Any other
// name without a version is not found. The registry is locked.
func (r *Registry) choose(id, name string, drawn bool) (*entry, error) {
	ranked := r.byID[id]
	if len(ranked) == 0 {
		return nil, r.notFound(id)
	}
	c := resolve(r.aliases[id], ranked, name)
	if c.at >= 0 {
		return ranked[c.at], nil
	}
	var have []string
	for _, e := range ranked {
		if manifest.ValidVersion(e.Version) {
			have = append(have, e.Version)
		}
	}
	switch {
	case c.version != "":
		why := fmt.Sprintf("it is not there, and alias %s stands for it: there are %s", name, joinSome(have))
		return nil, &model.UnavailableError{ID: id, Version: c.version, Reason: why, RetryAfter: model.RetryAfter}
	case drawn:
		why := fmt.Sprintf("it is not there, and requests are split between it and others: there are %s", joinSome(have))
		return nil, &model.UnavailableError{ID: id, Version: name, Reason: why, RetryAfter: model.RetryAfter}
	}
	if a := r.aliases[id]; a != nil {
		have = append(have, sortedKeys(a.Names)...)
	}
	return nil, fmt.Errorf("%w: model %s has no version %.80q; it has %s", ErrVersionNotFound, id, name, joinSome(have))
}

// orLatest returns the version name of requests without weights.
func orLatest(version string) string {
	if version == "" {
		return Latest
	}
	return version
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func joinSome(names []string) string {
	const most = 20
	out := ""
	for i, n := range names {
		if i == most {
			return fmt.Sprintf("%s and %d more", out, len(names)-most)
		}
		if i > 0 {
			out += ", "
		}
		out += n
	}
	return out
}
