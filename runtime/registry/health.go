package registry

import (
	"context"
	"time"

	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// healthPatience is how long detectors are given to say whether they are well.
const healthPatience = time.Second

// asked is a loaded version that is asked for its health.
type asked struct {
	id    string
	model *model.Model
	alone bool // requests that the configuration foresees have no answer without it
}

// unwell returns why requests that the configuration foresees have no answer although
// the models are loaded: a version that it names cannot answer for now, or none can.
// Detectors are asked without the registry's lock.
func (r *Registry) unwell(text func(error) string) string {
	ctx, cancel := context.WithTimeout(r.base, healthPatience)
	defer cancel()
	var first string
	well := map[string]bool{} // ids with a version that is
	var ill []asked
	loaded := r.loaded()
	for _, a := range loaded {
		err := a.model.Health(ctx)
		if err == nil {
			well[a.id] = true
			continue
		}
		ill = append(ill, a)
		if first == "" || a.alone {
			first = text(err)
		}
		if a.alone {
			return first
		}
	}
	for _, a := range ill {
		if len(ill) == len(loaded) || r.names(a.id) && !well[a.id] {
			return first
		}
	}
	return ""
}

// loaded lists the versions that are loaded.
func (r *Registry) loaded() []asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []asked
	for _, key := range sortedKeys(r.entries) {
		e := r.entries[key]
		if e.current == nil {
			continue
		}
		all = append(all, asked{e.ID, e.current.model, len(r.cfg.Only) > 0 || r.wants(e)})
	}
	return all
}

// ask fills in which of the versions cannot answer for now.
func (r *Registry) ask(all []Status) []Status {
	ctx, cancel := context.WithTimeout(r.base, healthPatience)
	defer cancel()
	for i := range all {
		if s := &all[i]; s.State == StateLoaded {
			s.Unwell = s.Model.Health(ctx)
		}
	}
	return all
}
