package registry

import (
	"errors"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/guard"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// FailureKind says what made a load fail.
type FailureKind string

// The kinds of failures.
const (
	// FailureFile is a verdict on the files of a version. It holds until they
	// change, or until somebody asks for the load.
	FailureFile FailureKind = "file"
	// FailureSurroundings is the machine's state, such as a full disk. The load is
	// tried again.
	FailureSurroundings FailureKind = "surroundings"
)

// KindOf returns the kind of a failure to load, or to read, a model.
func KindOf(err error) FailureKind {
	if backends.Surroundings(err) || errors.Is(err, batching.ErrOverloaded) {
		return FailureSurroundings
	}
	return FailureFile
}

// failure is how the last load of an entry failed.
type failure struct {
	err      error
	kind     FailureKind
	attempts int       // that failed in a row because of the surroundings
	retryAt  time.Time // zero: the load is not tried again by itself
}

// Loads that failed because of the surroundings are tried again after a time that
// doubles with each attempt.
const (
	firstRetry  = 5 * time.Second
	lastRetry   = 5 * time.Minute
	retryJitter = 0.2 // of the time, at most, so that many models do not retry at once
)

// retryAfterAttempts returns how long to wait after so many failed attempts in a
// row; random is in [0, 1).
func retryAfterAttempts(attempts int, random float64) time.Duration {
	d := lastRetry
	if shift := max(0, attempts-1); shift < 8 {
		d = min(d, firstRetry<<shift)
	}
	return min(lastRetry, d+time.Duration(retryJitter*random*float64(d)))
}

// fail notes that a load of an entry failed, and when to try again. The registry
// is locked.
func (r *Registry) fail(e *entry, err error) {
	f := &failure{err: err, kind: KindOf(err)}
	log := r.cfg.Log.With("model_id", e.ID, "version", e.Version, "path", e.Path(), "still_serving", e.current != nil, "failure", string(f.kind), "error", err)
	if f.kind == FailureSurroundings {
		f.attempts = 1
		if e.failed != nil {
			f.attempts += e.failed.attempts
		}
		f.retryAt = r.cfg.Now().Add(retryAfterAttempts(f.attempts, r.cfg.Random()))
		log = log.With("attempts", f.attempts, "retry_at", f.retryAt.UTC())
	}
	e.failed, e.changed = f, r.cfg.Now()
	r.cfg.Observe.LoadFailed(e.ID, e.Version, err)
	var p *guard.PanicError
	if errors.As(err, &p) {
		log = log.With("stack", string(p.Stack))
	}
	log.Error("model not loaded")
	if f.kind == FailureSurroundings {
		r.wakeRetries()
	}
}

// wakeRetries starts the goroutine that retries, or makes it look again. The
// registry is locked.
func (r *Registry) wakeRetries() {
	if r.closed {
		return
	}
	if r.retries == nil {
		r.retries = make(chan struct{}, 1)
		r.wg.Go(r.retryLoads)
	}
	select {
	case r.retries <- struct{}{}:
	default:
	}
}

// retryLoads retries loads when their time has come, until the registry closes.
func (r *Registry) retryLoads() {
	timer := time.NewTimer(lastRetry)
	defer timer.Stop()
	for {
		r.mu.Lock()
		next := r.retryDue()
		r.mu.Unlock()
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-r.retries:
		case <-r.base.Done():
			return
		}
	}
}

// retryDue starts the loads whose time has come and returns how long it is to the
// next. A retry takes no other model's place in the cache, unless the
// configuration names the model: the others are tried again when a request asks
// for them. The registry is locked.
func (r *Registry) retryDue() time.Duration {
	now := r.cfg.Now()
	next := lastRetry
	for _, e := range r.entries {
		f := e.failed
		if f == nil || f.retryAt.IsZero() || e.loading != nil || e.unloaded {
			continue
		}
		if wait := f.retryAt.Sub(now); wait > 0 {
			next = min(next, wait)
			continue
		}
		if e.current != nil || r.names(e.ID) || r.wants(e) || r.lru.Len()+r.loadsUnderWay() < r.cfg.CacheSize {
			r.startLoad(e, e.current == nil)
		} else {
			e.arriving = false // a request loads it
		}
	}
	for _, e := range r.entries {
		if r.undecided(e) && e.loading == nil && r.startLoad(e, true) == nil {
			next = min(next, noRoomRetry)
		}
	}
	return next
}

// problem returns why an entry cannot be had as it lies in the directory; nil: it
// can.
func (e *entry) problem() error {
	if e.failed != nil {
		return e.failed.err
	}
	return e.unread
}

// failure is the kind of problem.
func (e *entry) failure() FailureKind {
	if e.failed != nil {
		return e.failed.kind
	}
	return FailureSurroundings
}

// down reports whether an entry has failed and nothing of it runs, although nobody
// has unloaded it.
func (e *entry) down() bool {
	return e.current == nil && !e.unloaded && (e.failed != nil || (e.unread != nil && e.fingerprint == ""))
}

func (e *entry) name() string { return e.Version }

// atFault reports whether the last load failed by the version's files.
func (e *entry) atFault() bool {
	return !manifest.ValidVersion(e.Version) || e.failed != nil && e.failed.kind == FailureFile
}

// standing is what resolution knows of an entry.
func (e *entry) standing() standing {
	switch {
	case e.current != nil:
		return offered
	case e.atFault(), e.unloaded:
		return out
	case e.arriving, e.fingerprint == "" && errors.Is(e.unread, catalog.ErrUnsettled):
		return arriving
	}
	return offered
}

// refusal returns why a load is not to be begun for a request; nil: it may be.
func (e *entry) refusal(now time.Time) error {
	switch {
	case e.failed != nil && (e.failed.retryAt.IsZero() || e.failed.retryAt.After(now)):
		return e.failed.err
	case e.failed == nil && e.fingerprint == "":
		return e.unread
	}
	return nil
}

// retryIn returns what to tell a client that asks for an entry which has failed.
func (e *entry) retryIn(now time.Time) time.Duration {
	if e.failed == nil || e.failed.retryAt.IsZero() {
		return model.RetryAfter
	}
	return max(model.RetryAfter, e.failed.retryAt.Sub(now).Round(time.Second))
}
