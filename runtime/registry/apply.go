package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
)

// maxUnsettledLooks is how many looks at the start wait for models that are being
// written: one that never settles must not keep the host from being ready.
const maxUnsettledLooks = 10

// Apply takes over what was found in the models directory. It does not wait for
// the loads that this starts: Ready does, for those of the first settled look.
func (r *Registry) Apply(_ context.Context, all []catalog.Found) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var loads []*entry
	kept := map[string]bool{}
	settled := true
	for i := range all {
		if r.only(all[i].ID, all[i].Version) == nil {
			continue
		}
		kept[all[i].Key()] = true
		settled = settled && !errors.Is(all[i].Err, catalog.ErrUnsettled)
		if e := r.take(&all[i]); e != nil {
			loads = append(loads, e)
		}
	}
	for key, e := range r.entries {
		if !kept[key] {
			r.remove(key, e)
		}
	}
	preloaded := func(e *entry) int {
		if e.current == nil && (r.wants(e) || r.matches(r.cfg.Preload, e.ID)) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(loads, func(a, b *entry) int { return preloaded(a) - preloaded(b) })
	r.trouble = nil
	for _, e := range loads {
		l := r.startLoad(e, e.current == nil)
		if l == nil { // a request loads it
			e.arriving = false
		} else if !r.looked {
			r.starting = append(r.starting, l)
		}
	}
	r.retryDue()
	r.looks++
	r.looked = r.looked || settled || r.looks >= maxUnsettledLooks
	r.settle()
}

// take notes one found version and returns its entry where it should be loaded
// now.
func (r *Registry) take(f *catalog.Found) *entry {
	key := f.Key()
	e := r.entries[key]
	if e == nil {
		e = &entry{Location: f.Location, changed: r.cfg.Now()}
		r.entries[key] = e
		r.byID[f.ID] = append(r.byID[f.ID], e)
		slices.SortFunc(r.byID[f.ID], func(a, b *entry) int { return manifest.NewestFirst(a.Version, b.Version) })
	}
	if e.warning != f.Warning && f.Warning != "" {
		r.cfg.Log.Warn("two models have the same id and version", "model_id", f.ID, "version", f.Version, "detail", f.Warning)
	}
	e.warning = f.Warning
	if !r.readable(e, f) {
		return nil
	}
	if f.Err != nil {
		if e.failed == nil || e.failed.err.Error() != f.Err.Error() {
			r.fail(e, f.Err)
		}
		e.fingerprint = ""
		return nil
	}
	if e.fingerprint == f.Fingerprint {
		return nil
	}
	e.fingerprint, e.Location = f.Fingerprint, f.Location
	if e.current == nil {
		e.failed = nil // of the files that were there before
	}
	if e.loading != nil {
		e.pending = true
		return nil
	}
	e.arriving = false
	switch {
	case e.unloaded:
		return nil
	case e.current != nil, r.matches(r.cfg.Preload, f.ID), len(r.cfg.Only) > 0, !r.cfg.Lazy && r.lru.Len() < r.cfg.CacheSize:
		e.arriving = r.arrives(e)
		return e
	}
	return nil
}

// arrives reports whether an entry comes after the start, while another version answers: until it has
// loaded, it takes no requests from that one. The registry is locked.
func (r *Registry) arrives(e *entry) bool {
	return r.looked && e.current == nil && slices.ContainsFunc(r.byID[e.ID], func(o *entry) bool { return o.current != nil })
}

// readable notes whether a look could read a version, and reports it. What it could
// not read says nothing about what is there: the version stays as it is.
func (r *Registry) readable(e *entry, f *catalog.Found) bool {
	switch {
	case errors.Is(f.Err, catalog.ErrUnsettled):
		if e.current == nil && e.fingerprint == "" {
			e.unread = fmt.Errorf("%s %w", f.Path(), catalog.ErrUnsettled)
		}
		return false
	case f.Err != nil && backends.Surroundings(f.Err):
		if e.unread == nil || e.unread.Error() != f.Err.Error() {
			e.unread = f.Err
			r.cfg.Log.Error("model cannot be read for now", "model_id", e.ID, "version", e.Version, "still_serving", e.current != nil, "error", f.Err)
		}
		return false
	case e.unread != nil && !errors.Is(e.unread, catalog.ErrUnsettled):
		r.cfg.Log.Info("model can be read again", "model_id", e.ID, "version", e.Version)
	}
	e.unread = nil
	return true
}

func (r *Registry) matches(names []string, id string) bool {
	return slices.Contains(names, id) || slices.Contains(names, every)
}

// only returns what is asked of a version, or nil where it is not to be served.
func (r *Registry) only(id, version string) *Only {
	if len(r.cfg.Only) == 0 {
		return &Only{}
	}
	for i := range r.cfg.Only {
		if o := &r.cfg.Only[i]; o.ID == id && o.Version == version {
			return o
		}
	}
	return nil
}

// remove forgets a version whose files are gone.
func (r *Registry) remove(key string, e *entry) {
	e.gone = true
	delete(r.entries, key)
	r.byID[e.ID] = slices.DeleteFunc(r.byID[e.ID], func(o *entry) bool { return o == e })
	if len(r.byID[e.ID]) == 0 {
		delete(r.byID, e.ID)
	}
	r.retire(e)
	if a := r.aliases[e.ID]; a != nil { // its aliases wait for nothing
		maps.DeleteFunc(a.kept, func(_, version string) bool { return version == e.Version })
	}
	r.cfg.Observe.Removed(e.ID, e.Version)
	r.cfg.Log.Info("model removed", "model_id", e.ID, "version", e.Version)
}
