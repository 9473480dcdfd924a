package registry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/backends"
)

// Ready returns a channel that is closed when the models found at start, and the
// versions of the configuration's aliases, have loaded or failed. NotReady says
// whether the host should get traffic.
func (r *Registry) Ready() <-chan struct{} { return r.first }

// Trouble tells the registry that the models directory could not be scanned. The
// registry keeps serving. The next Apply ends the trouble.
func (r *Registry) Trouble(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trouble = err
}

// NotReady returns why the host should get no traffic, or "". The host is ready once
// the models found at start have been loaded, unless all of them failed, or
// something that the configuration names is missing, cannot answer or is unhealthy.
func (r *Registry) NotReady() string { return cmp.Or(r.notReady(error.Error), r.unwell(error.Error)) }

// NotReadyPublic is NotReady for those who are not the host's operators.
func (r *Registry) NotReadyPublic() string {
	return cmp.Or(r.notReady(backends.PublicText), r.unwell(backends.PublicText))
}

// Unmet lists what the configuration requests but the registry lacks. text converts
// errors to text.
func (r *Registry) Unmet(text func(error) string) []Problem {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.looked {
		return nil // what is there is not known yet
	}
	return r.unmet(text)
}

func (r *Registry) notReady(text func(error) string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ready {
		return r.starts(text)
	}
	if unmet := r.unmet(text); len(unmet) > 0 {
		const most = 3
		var all []string
		for _, p := range unmet[:min(most, len(unmet))] {
			all = append(all, p.Why)
		}
		if more := len(unmet) - most; more > 0 {
			all = append(all, fmt.Sprintf("and %d more", more))
		}
		return strings.Join(all, "; ")
	}
	down := 0
	var first *entry
	for _, key := range sortedKeys(r.entries) {
		if e := r.entries[key]; e.down() {
			if down++; first == nil {
				first = e
			}
		}
	}
	if len(r.entries) == 0 && len(r.strays) > 0 {
		return fmt.Sprintf("there is no model that can be served: %s", text(r.firstStray(everyone)))
	}
	if down > 0 && down == len(r.entries) {
		return fmt.Sprintf("none of the %d versions found could be loaded: %s", down, first.notLoaded(text))
	}
	return ""
}

// starts returns what the host waits for at its start. The registry is locked.
func (r *Registry) starts(text func(error) string) string {
	if r.trouble != nil {
		return text(r.trouble)
	}
	for _, key := range sortedKeys(r.entries) {
		if e := r.entries[key]; e.down() {
			return e.notLoaded(text)
		}
	}
	if r.looked {
		if missing := r.named.Missing(r.versions()); len(missing) > 0 {
			return missing[0].Why
		}
	}
	return "the models found at start are still being loaded"
}

// unmet lists what the configuration requests but the registry lacks. The registry
// is locked.
func (r *Registry) unmet(text func(error) string) []Problem {
	var out []Problem
	if r.named.any() {
		out = r.named.Missing(r.versions())
	}
	for _, key := range sortedKeys(r.entries) {
		e := r.entries[key]
		switch {
		case e.down() && r.needed(e):
			out = append(out, Problem{e.ID, e.notLoaded(text)})
		case e.unloaded && !e.serving && r.wants(e):
			out = append(out, Problem{e.ID, key + " was unloaded, and an alias stands for it"})
		case r.undecided(e) && r.neverAnswered(e):
			out = append(out, Problem{e.ID, key + " has not been loaded yet, and an alias stands for it"})
		}
	}
	return out
}

// neverAnswered reports whether a name of an entry had no other version before. The
// registry is locked.
func (r *Registry) neverAnswered(e *entry) bool {
	a := r.aliases[e.ID]
	for alias, version := range a.Names {
		if _, kept := a.kept[alias]; version == e.Version && kept {
			return false
		}
	}
	return true
}

func (e *entry) notLoaded(text func(error) string) string {
	out := fmt.Sprintf("%s was not loaded: %s", e.Key(), text(e.problem()))
	if e.failed != nil && !e.failed.retryAt.IsZero() {
		out += "; it is tried again"
	}
	return out
}

// names reports whether the configuration names a model.
func (r *Registry) names(id string) bool {
	return r.namesAlone(id) || r.matches(r.cfg.Preload, id) || r.matches(r.cfg.Pinned, id)
}

// namesAlone reports whether the configuration names a model by its id.
func (r *Registry) namesAlone(id string) bool {
	return id == r.cfg.Default || slices.Contains(r.cfg.Preload, id) || slices.Contains(r.cfg.Pinned, id) ||
		slices.ContainsFunc(r.cfg.Only, func(o Only) bool { return o.ID == id })
}

// needed reports whether requests that the configuration expects have no answer
// while an entry is down: it names this version, or the model whose latest version
// this is. A model that is only one of all is not needed if its files are at fault,
// because one bad model must not affect the others. The registry is locked.
func (r *Registry) needed(e *entry) bool {
	if len(r.cfg.Only) > 0 || r.wants(e) {
		return true
	}
	if a := r.aliases[e.ID]; a != nil && a.total > 0 {
		return false
	}
	list := r.byID[e.ID]
	if list[latest(list)] != e {
		return false
	}
	return r.namesAlone(e.ID) || e.failure() == FailureSurroundings && r.names(e.ID)
}
