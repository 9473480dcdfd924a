package predict

import (
	"maps"
	"strings"
	"sync"

	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// unknown counts requests for versions that the host does not serve, of models that it
// does.
type unknown struct {
	mu sync.Mutex
	of map[string]map[string]uint64 // by model and version
	n  int                          // names that are counted
}

const (
	mostUnknown = 256     // names, over all models
	otherNames  = "other" // stands for all names beyond, and for what is no version
)

func (u *unknown) add(id, version string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.of == nil {
		u.of = map[string]map[string]uint64{}
	}
	all := u.of[id]
	if _, known := all[version]; !known && (u.n >= mostUnknown || len(version) > 128 || !manifest.ValidVersion(version)) {
		version = otherNames
	}
	if all == nil { // the registry bounds the models: it knows this one
		all = map[string]uint64{}
		u.of[strings.Clone(id)] = all
	}
	if _, known := all[version]; !known {
		version = strings.Clone(version) // it may be a part of the request
		u.n++
	}
	all[version]++
}

// Unknown returns how many requests named a version of a model that the host does not
// serve, by version. Names that are no versions, and those beyond a bound, are counted
// as "other". The map is the caller's.
func (p *Pipeline) Unknown(id string) map[string]uint64 {
	p.unknown.mu.Lock()
	defer p.unknown.mu.Unlock()
	return maps.Clone(p.unknown.of[id])
}
