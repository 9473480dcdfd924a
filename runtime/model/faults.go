package model

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/guard"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
)

// owner words the errors of a model's calls.
type owner struct{ m *Model }

// Unavailable names the model.
func (o owner) Unavailable(reason string, retryAfter time.Duration) error {
	return &UnavailableError{ID: o.m.ID(), Version: o.m.Version(), Reason: reason, RetryAfter: retryAfter}
}

// Translate converts a backend's error about a detector that is down or has failed
// to an UnavailableError or an ErrScoring.
func (o owner) Translate(err error) error {
	var d *backends.DownError
	if errors.As(err, &d) {
		return &UnavailableError{ID: o.m.ID(), Version: o.m.Version(), Reason: d.Reason, Public: "its plugin is down: the host's log says why", RetryAfter: d.RetryAfter, suspect: d.Suspect}
	}
	var fault *backends.FaultError
	var panicked *guard.PanicError
	if errors.As(err, &fault) || errors.As(err, &panicked) {
		return batching.AsScoring(err)
	}
	return err
}

// Panicked counts and logs a panic.
func (o owner) Panicked(p *guard.PanicError) {
	o.m.Stats.Panicked()
	if o.m.witness != nil {
		o.m.witness.panicked(o.m, p)
	}
}

// Reason returns the text for clients about a row at which the detector failed. The
// detector's own words may contain data of other clients, so they go to the log.
// Without a log, the caller has opened the model itself and may read them.
func (o owner) Reason(err error) string {
	if o.m.witness == nil {
		return "the detector failed: " + strings.TrimPrefix(err.Error(), batching.ErrScoring.Error()+": ")
	}
	o.m.witness.note(o.m, err)
	return "the detector failed: the host's log says how"
}

// witness logs how a detector fails: at most one row and one panic per second.
type witness struct {
	log          *slog.Logger
	now          func() time.Time
	rows, panics atomic.Int64 // when the next one may be logged, in nanoseconds since 1970
}

// isDue reports whether at least a second has passed since it last did.
func (w *witness) isDue(at *atomic.Int64) bool {
	now, next := w.now(), at.Load()
	return now.UnixNano() >= next && at.CompareAndSwap(next, now.Add(time.Second).UnixNano())
}

func (w *witness) panicked(m *Model, p *guard.PanicError) {
	if w.isDue(&w.panics) {
		w.log.Error("the detector panicked", "model_id", m.ID(), "version", m.Version(), "panic", fmt.Sprint(p.Value), "stack", string(p.Stack))
	}
}

func (w *witness) note(m *Model, err error) {
	if w.isDue(&w.rows) {
		w.log.Warn("the detector failed at a row", "model_id", m.ID(), "version", m.Version(), "error", err)
	}
}
