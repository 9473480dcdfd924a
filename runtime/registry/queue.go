package registry

import (
	"context"
	"slices"
	"time"

	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// Loads wait in a queue and a limited number runs at once, so that many models at a
// start do not compete for time and memory. The time limit of a load counts from its
// turn.

// loading is a load that waits or runs. done is closed at its end.
type loading struct {
	done   chan struct{}
	err    error
	waits  int             // requests that wait for it; each gets a lease
	opened *handle         // what they lease; nil: nothing
	over   bool            // done is closed; guarded by the registry's mutex
	taken  *model.Handover // of the state of the running model; nil: none
	turn   chan struct{}   // closed when the load may begin
	begun  bool            // turn is closed; guarded by the registry's mutex
}

// enqueue adds a load to the queue. The registry is locked.
func (r *Registry) enqueue(l *loading) {
	r.queue = append(r.queue, l)
	r.beginLoads()
}

// hurry moves a load for which a request waits to the front. The registry is locked.
func (r *Registry) hurry(l *loading) {
	if at := slices.Index(r.queue, l); at > 0 {
		r.queue = slices.Insert(slices.Delete(r.queue, at, at+1), 0, l)
	}
}

// beginLoads gives the first loads of the queue their turn. The registry is locked.
func (r *Registry) beginLoads() {
	for r.running < r.cfg.Loads && len(r.queue) > 0 {
		l := r.queue[0]
		r.queue = slices.Delete(r.queue, 0, 1)
		r.running++
		l.begun = true
		close(l.turn)
	}
}

// inTurn calls f when it is the load's turn, and returns how long f took.
func (r *Registry) inTurn(ctx context.Context, l *loading, f func() (*model.Model, error)) (*model.Model, time.Duration, error) {
	select {
	case <-l.turn:
	case <-ctx.Done():
	}
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if l.begun {
			r.running--
			r.beginLoads()
		} else {
			r.queue = slices.DeleteFunc(r.queue, func(o *loading) bool { return o == l })
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	start := r.cfg.Now()
	m, err := f()
	return m, r.cfg.Now().Sub(start), err
}
