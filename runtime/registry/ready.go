package registry

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/backends"
)

// Ready is closed when the models found at start have been loaded, or have
// failed to. NotReady says whether the host should get traffic.
func (r *Registry) Ready() <-chan struct{} { return r.first }

// Trouble tells the registry that the models directory could not be looked at. It
// serves what it has, and Apply ends the trouble.
func (r *Registry) Trouble(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trouble = err
}

// NotReady returns why the host should get no traffic; empty: it should. It should
// once the models found at start have been loaded, unless all of them failed, or
// one that the configuration names cannot answer because of the surroundings, or is
// unwell.
func (r *Registry) NotReady() string { return cmp.Or(r.notReady(error.Error), r.unwell(error.Error)) }

// NotReadyPublic is NotReady for those who are not the host's operators.
func (r *Registry) NotReadyPublic() string {
	return cmp.Or(r.notReady(backends.PublicText), r.unwell(backends.PublicText))
}

func (r *Registry) notReady(text func(error) string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.first:
	default:
		return r.starts(text)
	}
	down := 0
	var first *entry
	for _, key := range sortedKeys(r.entries) {
		e := r.entries[key]
		if !e.down() {
			continue
		}
		if down++; first == nil {
			first = e
		}
		if e.failure() == FailureSurroundings && r.needed(e) {
			return e.notLoaded(text)
		}
	}
	if down > 0 && down == len(r.entries) {
		return fmt.Sprintf("none of the %d versions found could be loaded: %s", down, first.notLoaded(text))
	}
	return ""
}

// starts says what the host waits for at its start. The registry is locked.
func (r *Registry) starts(text func(error) string) string {
	if r.trouble != nil {
		return text(r.trouble)
	}
	for _, key := range sortedKeys(r.entries) {
		if e := r.entries[key]; e.down() {
			return e.notLoaded(text)
		}
	}
	return "the models found at start are still being loaded"
}

func (e *entry) notLoaded(text func(error) string) string {
	out := fmt.Sprintf("%s was not loaded: %s", e.Key(), text(e.problem()))
	if e.failed != nil && !e.failed.retryAt.IsZero() {
		out += "; it is tried again"
	}
	return out
}

// named reports whether the configuration names a model.
func (r *Registry) named(id string) bool {
	return id == r.cfg.Default || r.matches(r.cfg.Preload, id) || r.matches(r.cfg.Pinned, id) ||
		slices.ContainsFunc(r.cfg.Only, func(o Only) bool { return o.ID == id })
}

// needed reports whether requests that the configuration foresees have no answer
// without an entry: it names the very version, or the model, of which no version
// runs. The registry is locked.
func (r *Registry) needed(e *entry) bool {
	if len(r.cfg.Only) > 0 {
		return true // nothing else is here
	}
	for alias, version := range r.wanted[e.ID] {
		if _, answers := r.aliases[e.ID].Names[alias]; version == e.Version && !answers {
			return true
		}
	}
	for _, version := range r.aliases[e.ID].Names {
		if version == e.Version {
			return true
		}
	}
	return r.named(e.ID) && !slices.ContainsFunc(r.byID[e.ID], func(o *entry) bool { return o.current != nil })
}

// readyIfComplete makes the host ready where all that it is to serve has loaded. The
// registry is locked.
func (r *Registry) readyIfComplete() {
	if len(r.cfg.Only) == 0 || r.ready {
		return
	}
	for _, o := range r.cfg.Only {
		if !slices.ContainsFunc(r.byID[o.ID], func(e *entry) bool { return e.Version == o.Version && e.current != nil }) {
			return
		}
	}
	r.ready = true
	close(r.first)
}
