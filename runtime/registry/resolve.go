package registry

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/internal/nearest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// Latest is the version name that stands for the newest version.
const Latest = "latest"

// Aliases are the names of a model's versions, and how requests without a
// version are split.
type Aliases struct {
	Names   map[string]string // alias to version
	Default map[string]int    // alias or version to weight
}

// SetAliases points aliases to versions. An alias moves only to a version that
// loads; one that does not stays where it was, and the error says so.
func (r *Registry) SetAliases(ctx context.Context, all map[string]Aliases) []error {
	var errs []error
	next, wanted := map[string]Aliases{}, map[string]map[string]string{}
	for id, want := range all {
		r.mu.Lock()
		had := r.aliases[id]
		r.mu.Unlock()
		names := map[string]string{}
		waiting := map[string]string{}
		for alias, version := range want.Names {
			if err := r.loads(ctx, id, version); err != nil {
				waiting[alias] = version
				errs = append(errs, fmt.Errorf("alias %s of model %s is set when version %s loads: %w", alias, id, version, err))
				if old, ok := had.Names[alias]; ok {
					names[alias] = old
				}
				continue
			}
			names[alias] = version
		}
		next[id] = Aliases{Names: names, Default: want.Default}
		wanted[id] = waiting
	}
	r.mu.Lock()
	r.aliases, r.wanted = next, wanted
	r.mu.Unlock()
	return errs
}

// fulfil points the aliases to a version that waited for it to load. The registry
// is locked.
func (r *Registry) fulfil(e *entry) {
	for alias, version := range r.wanted[e.ID] {
		if version != e.Version {
			continue
		}
		a := r.aliases[e.ID]
		names := maps.Clone(a.Names)
		if names == nil {
			names = map[string]string{}
		}
		names[alias] = version
		r.aliases[e.ID] = Aliases{Names: names, Default: a.Default}
		delete(r.wanted[e.ID], alias)
		r.cfg.Log.Info("alias set", "model_id", e.ID, "alias", alias, "version", version)
	}
}

func (r *Registry) loads(ctx context.Context, id, version string) error {
	r.mu.Lock()
	e, err := r.find(id, version)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	lease, err := r.acquire(ctx, e)
	if err != nil {
		return err
	}
	lease.Release()
	return nil
}

// Acquire leases the model that answers a request, loading it where needed.
// Empty id: the default model, or the only one. Empty version: the model's
// weighted default, chosen by key where there is one, else the newest.
func (r *Registry) Acquire(ctx context.Context, id, version, key string) (*Lease, error) {
	r.mu.Lock()
	id, err := r.resolveID(id)
	if err != nil {
		r.mu.Unlock()
		return nil, err
	}
	candidates, err := r.resolveVersion(id, version, key)
	if err != nil {
		r.mu.Unlock()
		return nil, err
	}
	if e := candidates[0]; e.current != nil { // the common case
		defer r.mu.Unlock()
		return r.lease(e), nil
	}
	r.mu.Unlock()
	return r.acquireFirst(ctx, id, candidates)
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
			return "", fmt.Errorf("%w: the models directory is empty", ErrModelNotFound)
		}
		return "", fmt.Errorf("%w: set model_id to one of %s", ErrAmbiguousModel, joinSome(sortedKeys(r.byID)))
	}
	if len(r.byID[id]) == 0 {
		return "", r.notFound(id)
	}
	return id, nil
}

// notFound is the error of a model that is not there. The registry is locked.
func (r *Registry) notFound(id string) error {
	return &noModelError{id: id, known: slices.Collect(maps.Keys(r.byID))}
}

// noModelError says that there is no such model. Its text names the nearest one: it is
// made when it is asked for, since that takes a while and requests wait for the
// registry's lock.
type noModelError struct {
	id    string
	known []string
}

func (e *noModelError) Error() string {
	return fmt.Sprintf("%v: there is no model %.80q%s", ErrModelNotFound, e.id, nearest.Hint(e.id, e.known))
}

func (e *noModelError) Unwrap() error { return ErrModelNotFound }

// resolveVersion returns the versions that may answer, best first; never none.
func (r *Registry) resolveVersion(id, version, key string) ([]*entry, error) {
	aliases := r.aliases[id]
	if version == "" && len(aliases.Default) > 0 {
		version = r.weighted(id, aliases, key)
	}
	to, named := aliases.Names[version]
	if version == "" || (version == Latest && !named) {
		return r.newestFirst(id), nil
	}
	e, err := r.find(id, version)
	if err != nil && named {
		e, err = r.find(id, to)
	}
	if err != nil {
		return nil, err
	}
	return []*entry{e}, nil
}

// newestFirst lists the versions that can answer before those that failed, were
// unloaded, or load for the first time, and among these by manifest.NewestFirst: a
// version that takes long to load takes no traffic from the one that runs.
func (r *Registry) newestFirst(id string) []*entry {
	list := r.byID[id]
	if len(list) == 1 || (list[0].current != nil && !manifest.IsPrerelease(list[0].Version)) {
		return list
	}
	return ranked(list, func(e *entry) int {
		switch {
		case e.current != nil:
			return 0
		case e.problem() != nil, e.unloaded:
			return 2
		case e.loading != nil && e.last == nil:
			return 1
		}
		return 0
	})
}

// releasesFirst lists versions by manifest.NewestFirst, whatever their state.
func (r *Registry) releasesFirst(id string) []*entry {
	return ranked(r.byID[id], func(*entry) int { return 0 })
}

// ranked sorts by a state, and then by manifest.NewestFirst.
func ranked(list []*entry, state func(*entry) int) []*entry {
	out := slices.Clone(list)
	slices.SortFunc(out, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(state(a), state(b)), manifest.NewestFirst(a.Version, b.Version))
	})
	return out
}

// find returns the entry of an exact version.
func (r *Registry) find(id, version string) (*entry, error) {
	if e, ok := r.entries[id+"@"+version]; ok && manifest.ValidVersion(version) {
		return e, nil
	}
	if len(r.byID[id]) == 0 {
		return nil, r.notFound(id)
	}
	var have []string
	for _, e := range r.byID[id] {
		if manifest.ValidVersion(e.Version) {
			have = append(have, e.Version)
		}
	}
	have = append(have, sortedKeys(r.aliases[id].Names)...)
	return nil, fmt.Errorf("%w: model %s has no version %.80q; it has %s", ErrVersionNotFound, id, version, joinSome(have))
}

// weighted chooses a name by weight: by the key's hash where there is a key, so
// that one caller keeps its version, else at random.
// Names that lead to no version are left out.
func (r *Registry) weighted(id string, a Aliases, key string) string {
	weights := a.Default
	total := 0
	names := slices.DeleteFunc(sortedKeys(weights), func(n string) bool {
		_, alias := a.Names[n]
		_, version := r.entries[id+"@"+n]
		return !alias && !version && n != Latest
	})
	for _, n := range names {
		total += weights[n]
	}
	if total <= 0 {
		return ""
	}
	at := int(r.cfg.Random() * float64(total))
	if key != "" {
		h := fnv.New64a()
		_, _ = h.Write([]byte(key))
		at = int(h.Sum64() % uint64(total))
	}
	for _, n := range names {
		if at -= weights[n]; at < 0 {
			return n
		}
	}
	return names[len(names)-1]
}

// List describes all versions of all models, or of one model.
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
			return nil, r.notFound(id)
		}
		ids = []string{id}
	}
	var out []Status
	for _, id := range ids {
		for _, e := range r.byID[id] {
			out = append(out, r.status(e))
		}
	}
	return out, nil
}

// AliasesOf returns the aliases of a model.
func (r *Registry) AliasesOf(id string) Aliases {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.aliases[id]
}

func (r *Registry) status(e *entry) Status {
	s := Status{
		Location: e.Location, State: StateAvailable, Error: e.problem(), Warning: e.warning, Model: e.last,
		Pinned: r.matches(r.cfg.Pinned, e.ID), Changed: e.changed,
	}
	if s.Error != nil {
		s.Failure = e.failure()
	}
	if e.failed != nil {
		s.RetryAt = e.failed.retryAt
	}
	switch {
	case e.current != nil:
		s.State = StateLoaded
	case e.loading != nil:
		s.State = StateLoading
	case e.unloaded:
		s.State = StateUnloaded
	case e.down():
		s.State = StateFailed
	}
	return s
}

// Counts says how many versions are loaded and how many requests hold leases.
func (r *Registry) Counts() (loaded, leases int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.lru.Keys() {
		leases += e.current.refs
	}
	return r.lru.Len(), leases
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

// Peek returns a version that has been loaded at some time, without loading or
// leasing it: for its manifest and counters only.
func (r *Registry) Peek(id, version string) (*model.Model, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, err := r.resolveID(id)
	if err != nil {
		return nil, err
	}
	candidates, err := r.resolveVersion(id, version, "")
	if err != nil {
		return nil, err
	}
	for _, e := range candidates {
		if e.last != nil {
			return e.last, nil
		}
	}
	return nil, &model.UnavailableError{ID: id, Version: version, Reason: "it has not been loaded yet", RetryAfter: model.RetryAfter}
}
