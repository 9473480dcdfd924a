package registry

import (
	"context"
	"time"

	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// healthPatience is how long detectors may take to report their health.
const healthPatience = time.Second

// held is a loaded version that is kept open while it is asked something.
type held struct {
	id    string
	alone bool // without it, requests that the configuration expects have no answer
	*handle
}

// unwell returns why requests that the configuration expects have no answer although
// the models are loaded: a version that it names cannot answer at present, or none
// can. It asks detectors without the registry's lock.
func (r *Registry) unwell(text func(error) string) string {
	ctx, cancel := context.WithTimeout(r.base, healthPatience)
	defer cancel()
	var first string
	well := map[string]bool{} // ids with a healthy version
	var ill []held
	loaded := r.hold()
	defer r.drop(loaded)
	for _, h := range loaded {
		err := h.model.Health(ctx)
		if err == nil {
			well[h.id] = true
			continue
		}
		ill = append(ill, h)
		if first == "" || h.alone {
			first = text(err)
		}
		if h.alone {
			return first
		}
	}
	for _, h := range ill {
		if len(ill) == len(loaded) || r.names(h.id) && !well[h.id] {
			return first
		}
	}
	return ""
}

// Loaded calls f with each loaded model. A model stays open until Loaded returns,
// even if it is evicted meanwhile.
func (r *Registry) Loaded(f func(*model.Model)) {
	all := r.hold()
	defer r.drop(all)
	for _, h := range all {
		f(h.model)
	}
}

// hold keeps all loaded models open until drop. They can still be evicted.
func (r *Registry) hold() []held {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []held
	for _, key := range sortedKeys(r.entries) {
		if e := r.entries[key]; e.serving {
			r.use(e.current, useHold)
			all = append(all, held{e.ID, len(r.cfg.Only) > 0 || r.wants(e), e.current})
		}
	}
	return all
}

func (r *Registry) drop(all []held) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range all {
		r.use(h.handle, useDrop)
	}
}

// ask sets which of the versions cannot answer at present.
func (r *Registry) ask(all []Status) []Status {
	ctx, cancel := context.WithTimeout(r.base, healthPatience)
	defer cancel()
	loaded := r.hold()
	defer r.drop(loaded)
	models := make(map[string]*model.Model, len(loaded))
	for _, h := range loaded {
		models[h.model.ID()+"@"+h.model.Version()] = h.model
	}
	for i := range all {
		if m := models[all[i].Key()]; m != nil && all[i].State == StateLoaded {
			all[i].Unwell = m.Health(ctx)
		}
	}
	return all
}
