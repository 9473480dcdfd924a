package registry

import (
	"errors"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/guard"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// FailureKind says what made a load fail.
type FailureKind string

// The kinds of failures.
const (
	// FailureFile is a verdict on the files of a version. It holds until they change
	// or a request loads the version.
	FailureFile FailureKind = "file"
	// FailureSurroundings is a problem of the machine, such as a full disk. The load
	// is retried.
	FailureSurroundings FailureKind = "surroundings"
)

// KindOf returns the kind of an error of loading or reading a model.
func KindOf(err error) FailureKind {
	if backends.Surroundings(err) || errors.Is(err, batching.ErrOverloaded) {
		return FailureSurroundings
	}
	return FailureFile
}

// Loads that failed because of the surroundings are retried after a time that
// doubles with each attempt.
const (
	firstRetry  = 5 * time.Second
	lastRetry   = 5 * time.Minute
	retryJitter = 0.2 // largest share of the time, so that many models do not retry at once
)

// retryAfterAttempts returns how long to wait after a number of consecutive
// failures. random is in [0, 1).
func retryAfterAttempts(attempts int, random float64) time.Duration {
	d := lastRetry
	if shift := max(0, attempts-1); shift < 8 {
		d = min(d, firstRetry<<shift)
	}
	return min(lastRetry, d+time.Duration(retryJitter*random*float64(d)))
}

// tell reports the failure of an entry. The registry is locked.
func (r *Registry) tell(e *entry) {
	f := e.failed
	log := r.cfg.Log.With("model_id", e.ID, "version", e.Version, "path", e.Path(), "still_serving", e.serving, "failure", string(f.kind), "error", f.err)
	if f.kind == FailureSurroundings {
		log = log.With("attempts", f.attempts, "retry_at", f.retryAt.UTC())
	}
	r.cfg.Observe.LoadFailed(e.ID, e.Version, f.err)
	var p *guard.PanicError
	if errors.As(f.err, &p) {
		log = log.With("stack", string(p.Stack))
	}
	log.Error("model not loaded")
}

// wakeRetries starts the goroutine that retries, or wakes it. The registry is
// locked.
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

// retryLoads retries loads when they are due, until the registry closes.
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

// retryDue starts the loads that are due and returns the time until the next one. A
// retry evicts no other model, unless the configuration names its own: other models
// are retried when a request needs them. The registry is locked.
func (r *Registry) retryDue() time.Duration {
	now := r.cfg.Now()
	soonest := lastRetry
	for _, e := range r.entries {
		wait, retries := e.retryIn(now)
		if !retries || e.loading || e.unloaded {
			continue
		}
		if wait > 0 {
			soonest = min(soonest, wait)
			continue
		}
		if e.serving || r.names(e.ID) || r.wants(e) || r.lru.Len()+r.loadsUnderWay() < r.cfg.CacheSize {
			r.startLoad(e, !e.serving)
		} else {
			r.step(e, event{kind: noRoom})
		}
	}
	for _, e := range r.entries {
		if r.undecided(e) && !e.loading && r.startLoad(e, true) == nil {
			soonest = min(soonest, noRoomRetry)
		}
	}
	return soonest
}

func (e *entry) name() string { return e.Version }

// standing returns what resolution knows of an entry.
func (e *entry) standing() standing {
	if e.atFault() {
		return out
	}
	return e.life.standing()
}

// atFault reports whether the last load failed because of the version's files, or
// because of its name.
func (e *entry) atFault() bool {
	return !e.serving && !manifest.ValidVersion(e.Version) || e.life.atFault()
}

// tryAgain returns when a client that requests a failed entry should retry.
func (e *entry) tryAgain(now time.Time) time.Duration {
	wait, _ := e.retryIn(now)
	return max(model.RetryAfter, wait.Round(time.Second))
}
