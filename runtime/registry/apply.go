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

// maxUnsettledLooks is how many scans at the start wait for models that are being
// written: one that never settles must not keep the host from being ready.
const maxUnsettledLooks = 10

// Apply applies a scan of the models directory. It does not wait for the loads that
// it starts; Ready waits for those of the first settled scan.
func (r *Registry) Apply(_ context.Context, all []catalog.Found) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var loads []*entry
	kept := map[string]bool{}
	settled := true
	for i := range all {
		if all[i].Stray || r.only(all[i].ID, all[i].Version) == nil {
			continue
		}
		kept[all[i].Key()] = true
		settled = settled && !errors.Is(all[i].Err, catalog.ErrUnsettled)
		if e := r.take(&all[i]); e != nil {
			loads = append(loads, e)
		}
	}
	r.takeStrays(all)
	for key, e := range r.entries {
		if !kept[key] {
			r.remove(key, e)
		}
	}
	preloaded := func(e *entry) int {
		if !e.serving && (r.wants(e) || r.matches(r.cfg.Preload, e.ID)) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(loads, func(a, b *entry) int { return preloaded(a) - preloaded(b) })
	r.trouble = nil
	for _, e := range loads {
		if l := r.startLoad(e, !e.serving); l != nil && !r.looked {
			r.starting = append(r.starting, l)
		}
	}
	r.retryDue()
	r.looks++
	r.looked = r.looked || settled || r.looks >= maxUnsettledLooks
	r.settle()
}

// take records one found version and returns its entry if it should be loaded now.
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
	ev := seen(e, f)
	switch {
	case ev.kind == seenUnreadable && (e.unread == nil || e.unread.Error() != ev.err.Error()):
		r.cfg.Log.Error("model cannot be read for now", "model_id", e.ID, "version", e.Version, "still_serving", e.serving, "error", ev.err)
	case ev.kind != seenWriting && ev.kind != seenUnreadable && e.unread != nil && !errors.Is(e.unread, catalog.ErrUnsettled):
		r.cfg.Log.Info("model can be read again", "model_id", e.ID, "version", e.Version)
	}
	if ev.kind == seenChanged {
		e.Location = f.Location
		ev.wanted = r.matches(r.cfg.Preload, f.ID) || len(r.cfg.Only) > 0 || !r.cfg.Lazy && r.lru.Len() < r.cfg.CacheSize
		ev.arrives = r.arrives(e)
	}
	do := r.step(e, ev)
	if ev.kind == seenChanged {
		e.fingerprint = f.Fingerprint
	}
	if do&actLoad != 0 {
		return e
	}
	return nil
}

// seen returns the event for a scan of an entry. A version that could not be read
// counts as unchanged.
func seen(e *entry, f *catalog.Found) event {
	switch {
	case errors.Is(f.Err, catalog.ErrUnsettled):
		return event{kind: seenWriting, err: fmt.Errorf("%s %w", f.Path(), catalog.ErrUnsettled)}
	case f.Err != nil && backends.Surroundings(f.Err):
		return event{kind: seenUnreadable, err: f.Err}
	case f.Err != nil:
		return event{kind: seenBroken, err: f.Err}
	case e.fingerprint == f.Fingerprint:
		return event{kind: seenSame}
	}
	return event{kind: seenChanged}
}

// arrives reports whether an entry appears after the start while another version
// answers. Until it has loaded, it takes no requests from that one. The registry is
// locked.
func (r *Registry) arrives(e *entry) bool {
	return r.looked && !e.serving && slices.ContainsFunc(r.byID[e.ID], func(o *entry) bool { return o.serving })
}

func (r *Registry) matches(names []string, id string) bool {
	return slices.Contains(names, id) || slices.Contains(names, every)
}

// only returns what the configuration requires of a version, or nil if it must not
// be served.
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
	delete(r.entries, key)
	r.byID[e.ID] = slices.DeleteFunc(r.byID[e.ID], func(o *entry) bool { return o == e })
	if len(r.byID[e.ID]) == 0 {
		delete(r.byID, e.ID)
	}
	r.step(e, event{kind: ended})
	if a := r.aliases[e.ID]; a != nil { // its aliases wait for nothing
		maps.DeleteFunc(a.kept, func(_, version string) bool { return version == e.Version })
	}
	r.cfg.Observe.Removed(e.ID, e.Version)
	r.cfg.Log.Info("model removed", "model_id", e.ID, "version", e.Version)
}
