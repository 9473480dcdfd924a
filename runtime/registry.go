package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// Config says how a Registry loads models.
type Config struct {
	Dir        string   // the models directory
	CacheSize  int      // models loaded at once
	CacheBytes int64    // estimated bytes of all loaded models; 0: no limit
	Default    string   // model that answers where none is named
	Preload    []string // models loaded before the host is ready; "*" is every one
	Pinned     []string // models that are never evicted
	Only       []Only   // what is served; empty: all that is found. The host is ready when each has loaded
	Lazy       bool     // load on first use only
	Immutable  bool     // refuse a changed artifact under the same version
	StateDir   string   // where states of stateful models are kept; empty: in memory
	Now        func() time.Time
	Random     func() float64 // in [0, 1)
	Log        *slog.Logger
	Observe    Observer
}

// Only names a version that is to be served and, where Digest is not empty, the
// contents it must have ("sha256:" and hex digits, as Model.ContentDigest).
type Only struct{ ID, Version, Digest string }

// ParseOnly reads id@version, or id@version=sha256:..., as written in models.only.
func ParseOnly(text string) (Only, error) {
	name, digest, pinned := strings.Cut(text, "=")
	id, version, ok := strings.Cut(name, "@")
	switch {
	case !ok || !manifest.ValidID(id) || !manifest.ValidVersion(version):
		return Only{}, fmt.Errorf("models.only: %q is not <model>@<version>, or <model>@<version>=sha256:<digest>", text)
	case pinned && !manifest.ValidDigest(digest):
		return Only{}, fmt.Errorf("models.only: the digest of %q is not \"sha256:\" and 64 hex digits", text)
	}
	return Only{ID: id, Version: version, Digest: digest}, nil
}

// Observer is told what happens to models.
type Observer interface {
	Loaded(m *Model, took time.Duration)
	LoadFailed(id, version string, err error)
	Removed(id, version string)
}

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
	Location
	State   State
	Error   error // why it failed, or why a change to it was not taken up
	Warning string
	Model   *Model // loaded or last loaded; nil if it never was
	Pinned  bool
	Changed time.Time // of the state
}

// entry is one version in the registry. The registry's mutex guards it.
type entry struct {
	Location
	fingerprint string
	warning     string
	current     *handle // nil: not loaded
	last        *Model  // what was loaded last, for listings
	err         error
	unloaded    bool // by request
	gone        bool // removed from the directory
	loading     *loading
	changed     time.Time
	pending     bool // a change waits for the load that is under way
}

// handle is a loaded model and who uses it.
type handle struct {
	model    *Model
	refs     int
	retired  bool
	ending   bool          // it is being closed
	replaced bool          // its state has gone on to another, or was never used
	next     *handle       // the one that its state has gone on to, which it keeps
	stop     chan struct{} // closed when it is retired
	closed   chan struct{} // closed when the detector is
}

// newHandle makes a handle, which Close waits for. The registry is locked.
func (r *Registry) newHandle(m *Model) *handle {
	r.wg.Add(1)
	return &handle{model: m, stop: make(chan struct{}), closed: make(chan struct{})}
}

// loading is a load under way; done is closed at its end.
type loading struct {
	done chan struct{}
	err  error
}

// Registry holds the models of one directory.
type Registry struct {
	cfg      Config
	backends Backends
	calls    *Calls

	mu       sync.Mutex
	entries  map[string]*entry
	byID     map[string][]*entry              // newest version first
	lru      *simplelru.LRU[*entry, struct{}] // loaded ones
	bytes    int64
	aliases  map[string]Aliases
	closed   bool
	wg       sync.WaitGroup // loads, and models that are not closed
	starting []*loading     // loads of the looks until the first settled one
	ready    bool           // the first settled look is over
	first    chan struct{}  // closed when its loads are, too
	looks    int
	wanted   map[string]map[string]string // aliases by model whose versions have not loaded yet
	states   *snapshots
	closing  map[string]*handle // stateful models that were retired last, by Location.Key
	base     context.Context    // of loads
	cancel   context.CancelFunc
}

// maxUnsettledLooks is how many looks at the start wait for models that are being
// written: one that never settles must not keep the host from being ready.
const maxUnsettledLooks = 10

// New returns an empty registry. Apply fills it.
func New(cfg Config, backends Backends, calls *Calls) (*Registry, error) {
	if cfg.CacheSize < 1 {
		return nil, errors.New("models.cache_size must be at least 1")
	}
	// The order only: nothing is ever evicted by the list itself.
	order, err := simplelru.NewLRU[*entry, struct{}](1<<30, nil)
	if err != nil {
		return nil, fmt.Errorf("making the LRU list: %w", err)
	}
	r := &Registry{
		cfg: cfg, backends: backends, calls: calls, lru: order, entries: map[string]*entry{},
		byID: map[string][]*entry{}, aliases: map[string]Aliases{}, wanted: map[string]map[string]string{}, first: make(chan struct{}),
		states: newSnapshots(cfg.StateDir, cfg.Log), closing: map[string]*handle{},
	}
	r.base, r.cancel = context.WithCancel(context.Background())
	return r, nil
}

// Apply takes over what was found in the models directory. It does not wait for
// the loads that this starts: Ready does, for those of the first settled look.
func (r *Registry) Apply(_ context.Context, all []Found) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var loads []*entry
	kept := map[string]bool{}
	settled := true
	for i := range all {
		if r.only(all[i].ID, all[i].Version) == nil {
			continue
		}
		kept[all[i].Key()] = true
		settled = settled && !errors.Is(all[i].Err, errUnsettled)
		if e := r.take(&all[i]); e != nil {
			loads = append(loads, e)
		}
	}
	for key, e := range r.entries {
		if !kept[key] {
			r.remove(key, e)
		}
	}
	preloaded := func(e *entry) int {
		if e.current == nil && r.matches(r.cfg.Preload, e.ID) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(loads, func(a, b *entry) int { return preloaded(a) - preloaded(b) })
	for _, e := range loads {
		if l := r.startLoad(e, e.current == nil); l != nil {
			r.starting = append(r.starting, l)
		}
	}
	if len(r.cfg.Only) > 0 {
		return // installing the last of them makes the host ready
	}
	if r.looks++; r.ready || (!settled && r.looks < maxUnsettledLooks) {
		return
	}
	r.ready = true
	waits := r.starting
	r.wg.Go(func() {
		for _, l := range waits {
			<-l.done
		}
		close(r.first)
	})
}

// take notes one found version and returns its entry where it should be loaded
// now.
func (r *Registry) take(f *Found) *entry {
	key := f.Key()
	e := r.entries[key]
	if e == nil {
		e = &entry{Location: f.Location, changed: r.cfg.Now()}
		r.entries[key] = e
		r.byID[f.ID] = append(r.byID[f.ID], e)
		slices.SortFunc(r.byID[f.ID], func(a, b *entry) int { return manifest.CompareVersions(b.Version, a.Version) })
	}
	if e.warning != f.Warning && f.Warning != "" {
		r.cfg.Log.Warn("two models have the same id and version", "model_id", f.ID, "version", f.Version, "detail", f.Warning)
	}
	e.warning = f.Warning
	if errors.Is(f.Err, errUnsettled) {
		if e.current == nil && e.fingerprint == "" {
			e.err = fmt.Errorf("%s %w", f.Path(), errUnsettled)
		}
		return nil
	}
	if f.Err != nil {
		if errText(e.err) != f.Err.Error() {
			e.err, e.changed = f.Err, r.cfg.Now()
			r.failed(e, f.Err)
		}
		e.fingerprint = ""
		return nil
	}
	if e.fingerprint == f.Fingerprint {
		return nil
	}
	e.fingerprint, e.Location = f.Fingerprint, f.Location
	if e.current == nil {
		e.err = nil // of the files that were there before
	}
	if e.loading != nil {
		e.pending = true
		return nil
	}
	switch {
	case e.unloaded:
		return nil
	case e.current != nil, r.matches(r.cfg.Preload, f.ID), len(r.cfg.Only) > 0, !r.cfg.Lazy && r.lru.Len() < r.cfg.CacheSize:
		return e
	}
	return nil
}

func (r *Registry) matches(names []string, id string) bool {
	return slices.Contains(names, id) || slices.Contains(names, "*")
}

// only returns what is asked of a version, or nil where it is not to be served.
func (r *Registry) only(id, version string) *Only {
	if len(r.cfg.Only) == 0 {
		return &Only{}
	}
	for i := range r.cfg.Only {
		if o := &r.cfg.Only[i]; o.ID == id && o.Version == version {
			return o
		}
	}
	return nil
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

// remove forgets a version whose files are gone.
func (r *Registry) remove(key string, e *entry) {
	e.gone = true
	delete(r.entries, key)
	r.byID[e.ID] = slices.DeleteFunc(r.byID[e.ID], func(o *entry) bool { return o == e })
	if len(r.byID[e.ID]) == 0 {
		delete(r.byID, e.ID)
	}
	r.retire(e)
	r.cfg.Observe.Removed(e.ID, e.Version)
	r.cfg.Log.Info("model removed", "model_id", e.ID, "version", e.Version)
}

func (r *Registry) failed(e *entry, err error) {
	r.cfg.Observe.LoadFailed(e.ID, e.Version, err)
	r.cfg.Log.Error("model not loaded", "model_id", e.ID, "version", e.Version, "path", e.Path(),
		"still_serving", e.current != nil, "error", err)
}

// retire unlinks a loaded model; it is closed when its last lease ends. The
// registry is locked.
func (r *Registry) retire(e *entry) {
	h := e.current
	if h == nil {
		return
	}
	e.current = nil
	r.lru.Remove(e)
	r.bytes -= h.model.bytes
	h.retired = true
	if h.model.Manifest.Stateful && !h.replaced {
		r.closing[e.Key()] = h
	}
	close(h.stop)
	r.closeIfIdle(h)
}

func (r *Registry) closeIfIdle(h *handle) {
	if !h.retired || h.refs > 0 || h.ending {
		return
	}
	h.ending = true // taking the last snapshot uses the model once more
	go func() {
		defer r.wg.Done()
		if !h.replaced {
			r.keepState(h.model)
		}
		if err := h.model.close(); err != nil {
			r.cfg.Log.Error("closing a model failed", "model_id", h.model.ID(), "version", h.model.Version(), "error", err)
		}
		close(h.closed)
		r.mu.Lock()
		defer r.mu.Unlock()
		maps.DeleteFunc(r.closing, func(_ string, c *handle) bool { return c == h })
		if h.next != nil {
			h.next.refs--
			r.closeIfIdle(h.next)
		}
	}()
}

// Ready is closed when the models found at start have been loaded, or have
// failed to.
func (r *Registry) Ready() <-chan struct{} { return r.first }

// Close unloads everything, once the leases have ended or ctx does.
func (r *Registry) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	for _, e := range r.entries {
		r.retire(e)
	}
	r.mu.Unlock()
	r.cancel()
	done := make(chan struct{})
	go func() { r.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("waiting for requests and loads to end: %w", ctx.Err())
	}
	return errors.Join(r.states.close(), r.calls.Wait(ctx))
}
