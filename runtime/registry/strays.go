package registry

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
)

// stray is a file or directory that the catalog has found and that is not served
// because of its name or place.
type stray struct {
	catalog.Location
	err   error
	since time.Time
}

// takeStrays records the strays of a scan. They are listed as failed versions, and no
// request means them. The registry is locked.
func (r *Registry) takeStrays(all []catalog.Found) {
	if len(r.cfg.Only) > 0 {
		return
	}
	found := map[string]bool{}
	for i := range all {
		f := &all[i]
		if !f.Stray {
			continue
		}
		found[f.ID] = true
		was, known := r.strays[f.ID]
		if errors.Is(f.Err, catalog.ErrUnsettled) || known && was.err.Error() == f.Err.Error() {
			continue
		}
		r.strays[f.ID] = stray{f.Location, f.Err, r.cfg.Now()}
		r.cfg.Log.Error("not a model", "path", f.Path(), "error", f.Err)
		r.cfg.Observe.LoadFailed(f.ID, f.Version, f.Err)
	}
	for id, s := range r.strays {
		if !found[id] {
			delete(r.strays, id)
			r.cfg.Observe.Removed(id, s.Version)
		}
	}
}

// listStrays describes the strays, or the one with an id. The registry is locked.
func (r *Registry) listStrays(id string) []Status {
	var out []Status
	for _, key := range slices.Sorted(maps.Keys(r.strays)) {
		if s := r.strays[key]; id == "" || id == key {
			out = append(out, Status{Location: s.Location, State: StateFailed, Error: s.err, Failure: FailureFile, Changed: s.since})
		}
	}
	return out
}

// firstStray returns the error of the first stray that sees allows, or nil. The
// registry is locked.
func (r *Registry) firstStray(sees func(id string) bool) error {
	for _, s := range r.listStrays("") {
		if sees(s.ID) {
			return s.Error
		}
	}
	return nil
}

// noModels returns the error for requests that name no model while there is none that
// the caller sees. The registry is locked.
func (r *Registry) noModels(sees func(id string) bool) error {
	if err := r.firstStray(sees); err != nil {
		return fmt.Errorf("%w: the models directory has no model that can be served: %w", ErrModelNotFound, err)
	}
	return fmt.Errorf("%w: the models directory is empty", ErrModelNotFound)
}

func everyone(string) bool { return true }
