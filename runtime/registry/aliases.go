package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// CheckAliases returns an error about new aliases that name nothing, or a version
// whose files are at fault. It ignores problems that the present aliases also have.
func (r *Registry) CheckAliases(all map[string]Aliases) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.first:
	default:
		return nil // what is there is not known yet
	}
	before := r.named.Missing(r.versions())
	next := Named{Aliases: all}
	for _, p := range next.Missing(r.versions()) {
		if !slices.Contains(before, p) {
			return fmt.Errorf("%w: %s", model.ErrConflict, p.Why)
		}
	}
	for _, id := range sortedKeys(all) {
		for _, version := range all[id].stands() {
			if e := r.entries[id+"@"+version]; e != nil && e.down() && e.atFault() && !r.wants(e) {
				return fmt.Errorf("%w: %s", model.ErrConflict, e.notLoaded(error.Error))
			}
		}
	}
	return nil
}

// SetAliases sets the aliases and the split of requests, and waits until the
// versions of the aliases have loaded once. It returns the errors of those that
// fail. Until its new version has loaded, an alias keeps its former version.
func (r *Registry) SetAliases(ctx context.Context, all map[string]Aliases) []error {
	r.mu.Lock()
	next := map[string]*rules{}
	for id, want := range all {
		kept := map[string]string{}
		for alias, version := range want.Names {
			old, had := r.aliases[id].target(alias)
			e := r.entries[id+"@"+version]
			if _, there := r.entries[id+"@"+old]; had && there && old != version && (e == nil || !e.known) {
				kept[alias] = old
			}
		}
		next[id] = newRules(want, kept)
	}
	r.aliases, r.named.Aliases = next, all
	errs := missingErrors((&Named{Aliases: all}).Missing(r.versions()))
	var wait []*entry
	for _, e := range r.entries {
		if r.wants(e) && !e.known {
			wait = append(wait, e)
		}
	}
	r.settle()
	r.mu.Unlock()
	for _, e := range wait {
		if err := r.loadOnce(ctx, e); err != nil {
			errs = append(errs, fmt.Errorf("an alias of model %s stands for version %s: %w", e.ID, e.Version, err))
		}
	}
	return errs
}

func missingErrors(all []Problem) []error {
	var errs []error
	for _, p := range all {
		errs = append(errs, fmt.Errorf("%w: %s", ErrVersionNotFound, p.Why))
	}
	return errs
}

// loadOnce waits until an entry has loaded once, or cannot.
func (r *Registry) loadOnce(ctx context.Context, e *entry) error {
	for {
		r.mu.Lock()
		known, l := e.known, e.load
		r.mu.Unlock()
		if known {
			return nil
		}
		if l == nil {
			lease, err := r.acquire(ctx, e)
			if err == nil {
				lease.Release()
			}
			return err
		}
		select {
		case <-l.done:
			if l.err != nil {
				return r.unavailable(e, l.err)
			}
		case <-ctx.Done():
			return fmt.Errorf("waiting for model %s to load: %w", e.ID, ctx.Err())
		}
	}
}

// arrived ends what waited for a version to load once. The registry is locked.
func (r *Registry) arrived(e *entry) {
	a := r.aliases[e.ID]
	if a == nil {
		return
	}
	maps.DeleteFunc(a.kept, func(alias, _ string) bool {
		if a.Names[alias] != e.Version {
			return false
		}
		r.cfg.Log.Info("alias set", "model_id", e.ID, "alias", alias, "version", e.Version)
		return true
	})
}

// wants reports whether an alias or a share of the configuration names an entry. The
// registry is locked.
func (r *Registry) wants(e *entry) bool {
	a := r.aliases[e.ID]
	return a != nil && slices.Contains(a.stands(), e.Version)
}

// undecided reports whether the configuration waits for an entry that has neither
// loaded nor failed yet. The registry is locked.
func (r *Registry) undecided(e *entry) bool {
	return e.undecided() && r.wants(e)
}

// noRoomRetry is how soon a load that the configuration requests is retried while
// all loaded models are in use.
const noRoomRetry = 100 * time.Millisecond

// settle reacts to a change of the versions, their states or the aliases: it begins
// loads that the configuration requests, ends the start if nothing is waited for,
// and logs what is missing. The registry is locked.
func (r *Registry) settle() {
	if r.closed {
		return
	}
	waits := false
	for _, e := range r.entries {
		if r.undecided(e) {
			waits = true
			if !e.loading && r.startLoad(e, true) == nil {
				r.wakeRetries()
			}
		}
	}
	if !waits && !r.ready && r.loadedAtStart() {
		r.ready = true
		close(r.first)
	}
	r.report()
}

// loadedAtStart reports whether the loads of the start are over. The registry is
// locked.
func (r *Registry) loadedAtStart() bool {
	if len(r.cfg.Only) > 0 {
		return !slices.ContainsFunc(r.cfg.Only, func(o Only) bool {
			e := r.entries[o.ID+"@"+o.Version]
			return e == nil || !e.serving
		})
	}
	return r.looked && !slices.ContainsFunc(r.starting, func(l *loading) bool { return !l.over })
}

// versions returns the existing versions of each model. The registry is locked.
func (r *Registry) versions() map[string][]string {
	out := make(map[string][]string, len(r.byID))
	for id, list := range r.byID {
		for _, e := range list {
			out[id] = append(out[id], e.Version)
		}
	}
	return out
}

// report logs what the configuration requests but the registry lacks, and when that
// is over. The registry is locked.
func (r *Registry) report() {
	if !r.ready {
		return
	}
	unmet := r.unmet(error.Error)
	for _, p := range unmet {
		if !slices.Contains(r.reported, p) {
			r.cfg.Log.Error("the configuration asks for what cannot be had: the host is not ready", "model_id", p.ID, "reason", p.Why)
		}
	}
	if len(unmet) == 0 && len(r.reported) > 0 {
		r.cfg.Log.Info("all that the configuration asks for can be had")
	}
	r.reported = unmet
}
