package registry

import (
	"slices"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// List describes all versions of all models, or of one model, newest first. Last come
// files and directories that are not served because of their names or places.
func (r *Registry) List(id string) ([]Status, error) {
	all, err := r.list(id)
	return r.ask(all), err
}

func (r *Registry) list(id string) ([]Status, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := sortedKeys(r.byID)
	if id != "" {
		if len(r.byID[id]) == 0 {
			if strays := r.listStrays(id); len(strays) > 0 {
				return strays, nil
			}
			return nil, r.notFound(id)
		}
		ids = []string{id}
	}
	var out []Status
	for _, id := range ids {
		from := len(out)
		for _, e := range r.byID[id] {
			out = append(out, r.status(e))
		}
		slices.SortStableFunc(out[from:], func(a, b Status) int { return manifest.CompareVersions(b.Version, a.Version) })
	}
	if id == "" {
		out = append(out, r.listStrays("")...)
	}
	return out, nil
}

// AliasesOf returns the aliases of a model and their versions.
func (r *Registry) AliasesOf(id string) Aliases {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.aliases[id]
	if a == nil {
		return Aliases{}
	}
	out := Aliases{Names: map[string]string{}, Default: a.Default}
	for name := range a.Names {
		out.Names[name], _ = a.target(name)
	}
	return out
}

func (r *Registry) status(e *entry) Status {
	s := Status{
		Location: e.Location, State: e.state(), Error: e.problem(), Warning: e.warning, Facts: r.factsOf(e),
		Pinned: r.matches(r.cfg.Pinned, e.ID), Changed: e.changed,
	}
	if s.Error != nil {
		s.Failure = e.failure()
	}
	if e.failed != nil {
		s.RetryAt = e.failed.retryAt
	}
	return s
}

// Counts returns how many versions are loaded and how many requests hold leases.
func (r *Registry) Counts() (loaded, leases int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.lru.Keys() {
		leases += e.current.leases
	}
	return r.lru.Len(), leases
}

// Peek returns the facts of a version that has been loaded before, without loading
// it. Without a version it is the newest one, whatever the weights.
func (r *Registry) Peek(id, version string) (*Facts, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, err := r.resolveID(id)
	if err != nil {
		return nil, err
	}
	e, err := r.choose(id, orLatest(version), false)
	if err != nil {
		return nil, err
	}
	if f := r.factsOf(e); f != nil {
		return f, nil
	}
	return nil, &model.UnavailableError{ID: id, Version: version, Reason: "it has not been loaded yet", RetryAfter: model.RetryAfter}
}
