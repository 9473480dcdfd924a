package registry

import (
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/stats"
)

// State is the state of a version.
type State string

// The states of a version.
const (
	StateAvailable State = "available" // found, not loaded
	StateLoading   State = "loading"
	StateLoaded    State = "loaded"
	StateFailed    State = "failed"
	StateUnloaded  State = "unloaded" // on request; stays unloaded until a request loads it
)

// Status describes one version.
type Status struct {
	catalog.Location
	State   State
	Error   error       // why it failed, or why a change of it was not applied
	Failure FailureKind // of Error
	RetryAt time.Time   // when the load is retried; zero: not automatically
	Unwell  error       // why it cannot answer at present, although it is loaded
	Warning string
	Facts   *Facts // of the loaded version, or of the last one; nil if none was loaded
	Pinned  bool
	Changed time.Time // of the state
}

// Facts describe a version that is loaded or was. They do not keep it loaded: lease
// a model to use it.
type Facts struct {
	Manifest   *manifest.Manifest // immutable
	Digest     string             // of the artifact
	Content    string             // as returned by Model.ContentDigest
	Warnings   []string           // what the probe found odd but not wrong
	Difference float64            // as in Model.Difference
	Engine     backends.Engine    // as returned by Model.Engine
	Bytes      int64              // as returned by Model.Bytes
	Resets     uint64             // as returned by Model.Resets
	Stats      *stats.Counters    // they survive an unload and a change
}

// ID returns the model's id.
func (f *Facts) ID() string { return f.Manifest.ID }

// Version returns the model's version.
func (f *Facts) Version() string { return f.Manifest.Version }

func factsOf(m *model.Model) *Facts {
	return &Facts{
		Manifest: m.Manifest, Digest: m.Digest, Content: m.ContentDigest(), Warnings: m.Warnings, Difference: m.Difference, Engine: m.Engine(),
		Bytes: m.Bytes(), Resets: m.Resets(), Stats: m.Stats,
	}
}

// factsOf returns the facts of an entry, or nil if it was never loaded. The registry
// is locked.
func (r *Registry) factsOf(e *entry) *Facts {
	if e.facts == nil || e.current == nil {
		return e.facts
	}
	f := *e.facts
	f.Resets = e.current.model.Resets()
	return &f
}
