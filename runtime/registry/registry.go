// Package registry holds the models of one directory. It loads and unloads their
// versions, retries loads that failed, and decides which version answers a request.
//
// Package catalog scans the directory and reads files. Package model has the opened
// models.
package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	goruntime "runtime"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/semaphore"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/state"
)

// Config says how a Registry loads models.
type Config struct {
	Named
	Dir        string         // the models directory
	CacheSize  int            // largest number of loaded models
	CacheBytes int64          // estimated bytes of all loaded models; 0: no limit
	Lazy       bool           // load on first use only
	Loads      int            // concurrent loads; 0: one per processor
	ReadBytes  int64          // bytes of models' files that loads hold at once, unless a single model has more; 0: 1 GiB
	Immutable  bool           // refuse a changed artifact under the same version
	Policy     catalog.Policy // what models are granted
	StateDir   string         // directory of the states of stateful models; empty: keep them in memory
	Now        func() time.Time
	Random     func() float64 // in [0, 1)
	Log        *slog.Logger
	Observe    Observer
}

// Only names a version to serve. If Digest is not empty, it is the digest that its
// contents must have, as returned by Model.ContentDigest.
type Only struct{ ID, Version, Digest string }

// ParseOnly parses id@version or id@version=sha256:..., the syntax of models.only.
func ParseOnly(text string) (Only, error) {
	id, version, digest, err := manifest.ParsePinned(text)
	if err != nil {
		return Only{}, fmt.Errorf("models.only: %q %w", text, err)
	}
	return Only{ID: id, Version: version, Digest: digest}, nil
}

// Observer is told what happens to models.
type Observer interface {
	Loaded(m *model.Model, took time.Duration)
	LoadFailed(id, version string, err error)
	Removed(id, version string)
}

// entry is one version in the registry. The registry's mutex guards it.
type entry struct {
	catalog.Location
	life
	fingerprint string
	warning     string
	current     *handle // nil unless it is serving
	facts       *Facts  // of the model that was loaded last; nil: none was
	load        *loading
	changed     time.Time
}

// handle is a loaded model with its users.
type handle struct {
	model *model.Model
	instance
	replaced bool          // another model has its state, or the state was never used
	next     *handle       // the model that has its state, and keeps it
	stop     chan struct{} // closed when it is retired
	closed   chan struct{} // closed when the detector is closed
}

// newHandle makes a handle, for which Close waits. The registry is locked.
func (r *Registry) newHandle(m *model.Model) *handle {
	r.wg.Add(1)
	return &handle{model: m, stop: make(chan struct{}), closed: make(chan struct{})}
}

// Registry holds the models of one directory.
type Registry struct {
	cfg      Config
	backends model.Backends
	calls    *batching.Calls

	mu       sync.Mutex
	entries  map[string]*entry
	byID     map[string][]*entry              // by manifest.NewestFirst
	strays   map[string]stray                 // what is not served because of its name or place, by path
	lru      *simplelru.LRU[*entry, struct{}] // the loaded ones
	bytes    int64
	named    Named
	aliases  map[string]*rules
	closed   bool
	wg       sync.WaitGroup // counts loads, and models that are not closed
	queue    []*loading     // loads that wait for their turn
	running  int            // number of loads whose turn it is
	reading  *semaphore.Weighted
	retries  chan struct{} // wakes the goroutine that retries; nil: not started yet
	lost     []error       // states that could not be kept while the registry closed
	trouble  error         // why the directory could not be scanned
	starting []*loading    // loads of the scans up to the first settled one
	looks    int
	looked   bool          // the first settled scan is over
	ready    bool          // its loads are over, and those that aliases request
	first    chan struct{} // closed when ready
	reported []Problem     // what the configuration requests but the registry lacks, as logged
	states   *state.Snapshots
	closing  map[string]*handle // stateful models that were retired last, by Location.Key
	base     context.Context    // of loads
	cancel   context.CancelFunc
}

// New returns an empty registry. Apply fills it.
func New(cfg Config, backends model.Backends, calls *batching.Calls) (*Registry, error) {
	if cfg.CacheSize < 1 {
		return nil, errors.New("models.cache_size must be at least 1")
	}
	if cfg.Loads < 1 {
		cfg.Loads = goruntime.GOMAXPROCS(0)
	}
	if cfg.ReadBytes <= 0 {
		cfg.ReadBytes = 1 << 30
	}
	// The list keeps only the order: it never evicts anything by itself.
	order, err := simplelru.NewLRU[*entry, struct{}](1<<30, nil)
	if err != nil {
		return nil, fmt.Errorf("making the LRU list: %w", err)
	}
	r := &Registry{
		cfg: cfg, backends: backends, calls: calls, lru: order, entries: map[string]*entry{}, strays: map[string]stray{},
		byID: map[string][]*entry{}, aliases: map[string]*rules{}, first: make(chan struct{}),
		reading: semaphore.NewWeighted(cfg.ReadBytes),
		states:  state.New(cfg.StateDir, cfg.Log), closing: map[string]*handle{},
	}
	r.named = cfg.Named
	for id, a := range cfg.Aliases {
		r.aliases[id] = newRules(a, nil)
	}
	r.base, r.cancel = context.WithCancel(context.Background())
	return r, nil
}

// step applies an event to an entry and carries out the actions, except actLoad,
// actInstall and actDiscard, which the caller carries out. The registry is locked.
func (r *Registry) step(e *entry, ev event) action {
	if ev.err != nil && KindOf(ev.err) == FailureSurroundings {
		ev.now, ev.random = r.cfg.Now(), r.cfg.Random()
	}
	was := e.state()
	var do action
	if e.life, do = next(e.life, ev); do != 0 || e.state() != was {
		e.changed = r.cfg.Now()
	}
	if !e.settled {
		e.fingerprint = ""
	}
	if do&actRetire != 0 && do&actInstall == 0 {
		r.retire(e)
	}
	if do&actTell != 0 {
		r.tell(e)
	}
	if do&actRetry != 0 {
		r.wakeRetries()
	}
	return do
}

// retire unlinks a loaded model, which is closed when its last lease ends. The
// registry is locked.
func (r *Registry) retire(e *entry) {
	h := e.current
	if h == nil {
		return
	}
	f := *e.facts
	f.Resets = h.model.Resets()
	e.current, e.facts = nil, &f
	r.lru.Remove(e)
	r.bytes -= h.model.Bytes()
	if h.model.Manifest.Stateful && !h.replaced {
		r.closing[e.Key()] = h
	}
	close(h.stop)
	r.use(h, useRetire)
}

// use records a change of a handle's users, and closes the model if it has none
// left. The registry is locked.
func (r *Registry) use(h *handle, u use) {
	var closing bool
	if h.instance, closing = h.instance.next(u); closing {
		go r.end(h)
	}
}

// end closes a model after it has kept the model's state, which uses the model once
// more.
func (r *Registry) end(h *handle) {
	defer r.wg.Done()
	var lost error
	if !h.replaced {
		lost = r.keepState(h.model)
	}
	if err := h.model.End(); err != nil {
		r.cfg.Log.Error("closing a model failed", "model_id", h.model.ID(), "version", h.model.Version(), "error", err)
	}
	close(h.closed)
	r.mu.Lock()
	defer r.mu.Unlock()
	if lost != nil && r.closed {
		r.lost = append(r.lost, lost)
	}
	maps.DeleteFunc(r.closing, func(_ string, c *handle) bool { return c == h })
	if h.next != nil {
		r.use(h.next, useRelease)
	}
}

// Close unloads everything when the leases have ended or ctx ends.
func (r *Registry) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	for _, e := range r.entries {
		r.step(e, event{kind: ended})
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
	lost := r.states.Close()
	for _, err := range r.lost {
		// A snapshot that is only in memory has had another chance to be written.
		if !errors.Is(err, state.ErrInMemory) {
			lost = errors.Join(lost, err)
		}
	}
	if lost != nil {
		r.cfg.Log.Error("what models have learned is lost with this process", "error", lost)
	}
	return errors.Join(lost, r.calls.Wait(ctx))
}
