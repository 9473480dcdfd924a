package registry

import (
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
)

// Work is what the detector of a loaded version does at a moment.
type Work struct {
	ID, Version string
	Bytes       int64            // estimated
	Figures     batching.Figures // of its slots
	Usage       *backends.Usage  // nil: the detector does not say
}

// Work returns what the detectors of all loaded versions do, by id and version. They are
// asked without the registry's lock.
func (r *Registry) Work(now time.Time) []Work {
	loaded := r.hold()
	defer r.drop(loaded)
	all := make([]Work, len(loaded))
	for i, h := range loaded {
		all[i] = Work{ID: h.model.ID(), Version: h.model.Version(), Bytes: h.model.Bytes(), Figures: h.model.Figures(now)}
		if u, ok := h.model.Usage(); ok {
			all[i].Usage = &u
		}
	}
	return all
}
