package registry

import (
	"time"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/stats"
)

// State is where a version stands.
type State string

// The states of a version.
const (
	StateAvailable State = "available" // found, not loaded
	StateLoading   State = "loading"
	StateLoaded    State = "loaded"
	StateFailed    State = "failed"
	StateUnloaded  State = "unloaded" // by request; stays so until loaded
)

// Status describes one version.
type Status struct {
	catalog.Location
	State   State
	Error   error       // why it failed, or why a change to it was not taken up
	Failure FailureKind // of Error
	RetryAt time.Time   // when the load is tried again; zero: not by itself
	Unwell  error       // why it cannot answer for now, although it is loaded
	Warning string
	Facts   *Facts // of what is loaded, or was last; nil if it never was
	Pinned  bool
	Changed time.Time // of the state
}

// Facts are what is known of a version that is loaded, or was. They do not keep it loaded:
// who wants to ask the model itself leases it.
type Facts struct {
	Manifest   *manifest.Manifest // which does not change
	Digest     string             // of the artifact
	Content    string             // as Model.ContentDigest
	Warnings   []string           // what the probe found odd but not wrong
	Difference float64            // as Model.Difference
	Bytes      int64              // as Model.Bytes
	Resets     uint64             // as Model.Resets
	Stats      *stats.Counters    // they go on over an unload and a change
}

// ID is the model's id.
func (f *Facts) ID() string { return f.Manifest.ID }

// Version is the model's version.
func (f *Facts) Version() string { return f.Manifest.Version }

func factsOf(m *model.Model) *Facts {
	return &Facts{
		Manifest: m.Manifest, Digest: m.Digest, Content: m.ContentDigest(), Warnings: m.Warnings, Difference: m.Difference,
		Bytes: m.Bytes(), Resets: m.Resets(), Stats: m.Stats,
	}
}

// factsOf returns the facts of an entry; nil: it was never loaded. The registry is locked.
func (r *Registry) factsOf(e *entry) *Facts {
	if e.facts == nil || e.current == nil {
		return e.facts
	}
	f := *e.facts
	f.Resets = e.current.model.Resets()
	return &f
}
