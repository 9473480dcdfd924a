//go:build linux

package process

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
)

// pool keeps a plugin's processes up. A goroutine per process starts it, waits for
// its end, and restarts it.
type pool struct {
	start  func(context.Context) (*instance, error)
	random func() float64
	ended  func(error)                // called when a process ends unexpectedly
	failed func(error, time.Duration) // called when a start fails, with the time until the next one
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	up       []*instance
	starting int
	restarts uint64            // since the pool was made
	retry    map[int]time.Time // when waiting workers will start, by worker
	reason   string            // why a process last ended or failed to start
	wake     chan struct{}     // closed when a field above changes
}

// The first restart is immediate. The time before the next ones doubles until a
// process has served for steadyAfter.
const (
	firstBackoff = 500 * time.Millisecond
	mostBackoff  = time.Minute
	steadyAfter  = 10 * time.Second
	jitter       = 0.2
)

// backoff returns how long to wait before a start after the given number of
// failures.
func backoff(failures int, random float64) time.Duration {
	if failures <= 1 {
		return 0
	}
	d := math.Min(float64(mostBackoff), float64(firstBackoff)*math.Pow(2, float64(failures-2)))
	return time.Duration(d * (1 + jitter*(2*random-1)))
}

// newPool makes a pool of the given number of processes.
func newPool(processes int, start func(context.Context) (*instance, error), random func() float64) *pool {
	return &pool{start: start, random: random, starting: processes, retry: map[int]time.Time{}, wake: make(chan struct{})}
}

// run adds an instance that serves and starts the others. close ends them.
func (p *pool) run(first *instance, processes int) {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	for n := range processes {
		inst := first
		first = nil
		if inst != nil {
			inst.serves()
			p.change(func() { p.starting--; p.up = append(p.up, inst) })
		}
		p.wg.Go(func() { p.work(ctx, n, inst) })
	}
}

// work keeps one process up. The worker counts as starting from the moment when its
// process ends, except while it waits.
func (p *pool) work(ctx context.Context, n int, inst *instance) {
	failures := 0
	for {
		since := time.Now()
		if inst == nil {
			var err error
			if inst, err = p.start(ctx); err != nil {
				if ctx.Err() != nil {
					return
				}
				failures++
				wait := max(firstBackoff, backoff(failures, p.random()))
				p.failed(err, wait)
				if !p.wait(ctx, n, wait, "it does not start: "+err.Error()) {
					return
				}
				continue
			}
			since = time.Now()
			inst.serves()
			p.change(func() { p.starting--; p.up = append(p.up, inst) })
		}
		select {
		case <-inst.proc.done:
		case <-ctx.Done():
			inst.close()
			return
		}
		cause := inst.proc.ended()
		if time.Since(since) >= steadyAfter {
			failures = 0
		}
		meant, words := false, inst.proc.log.TailBeside(cause.Error())
		p.change(func() {
			p.drop(inst)
			p.starting++
			p.restarts++
			p.reason = withWords(cause.Error(), words)
			meant = inst.meant
		})
		inst.end()
		p.ended(cause)
		inst = nil
		if meant {
			continue
		}
		failures++
		if wait := backoff(failures, p.random()); wait > 0 && !p.wait(ctx, n, wait, withWords(cause.Error(), words)) {
			return
		}
	}
}

// wait waits before a start. It returns false if the pool is closing.
func (p *pool) wait(ctx context.Context, n int, d time.Duration, reason string) bool {
	p.change(func() { p.starting--; p.retry[n] = time.Now().Add(d); p.reason = reason })
	defer p.change(func() { p.starting++; delete(p.retry, n) })
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// usage counts the processes that are up and the restarts.
func (p *pool) usage() backends.Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return backends.Usage{
		Instances: len(p.up), Wanted: len(p.up) + p.starting + len(p.retry), Restarts: p.restarts,
		Waits: len(p.up) == 0 && p.starting == 0 && len(p.retry) > 0,
	}
}

// change applies f under the lock and wakes all waiters.
func (p *pool) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.wake)
	p.wake = make(chan struct{})
}

// drop removes an instance. p is locked.
func (p *pool) drop(inst *instance) {
	for i, other := range p.up {
		if other == inst {
			p.up = append(p.up[:i:i], p.up[i+1:]...)
		}
	}
}

// acquire takes a slot of a process that is up. It waits for one while a process is
// up or starting, and otherwise returns a *backends.DownError. If alone is set, the
// call gets exclusive use of a process.
func (p *pool) acquire(ctx context.Context, alone bool) (*instance, error) {
	var kept *instance // takes no other calls until it is idle
	defer func() {
		if kept != nil {
			p.change(func() { kept.kept = false })
		}
	}()
	for {
		p.mu.Lock()
		var best *instance
		usable, there := false, false
		for _, inst := range p.up {
			if inst.broken {
				continue
			}
			usable = true
			there = there || inst == kept
			if inst.kept != (inst == kept) || inst.busy >= inst.concurrency && !alone {
				continue
			}
			if best == nil || inst.busy < best.busy {
				best = inst
			}
		}
		if !there {
			kept = nil
		}
		if alone && best != nil && best.busy > 0 {
			if kept == nil && !best.alone {
				kept = best
				kept.kept = true
			}
			best = nil
		}
		if best != nil {
			best.busy++
			if best.alone = alone; alone {
				best.busy = best.concurrency
			}
			p.mu.Unlock()
			return best, nil
		}
		if !usable && p.starting == 0 && len(p.up) == 0 {
			err := p.down()
			p.mu.Unlock()
			return nil, err
		}
		wake, ended := p.wake, ""
		if len(p.up) == 0 && p.reason != "" {
			ended = p.reason + "; "
		}
		p.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, fmt.Errorf("%swaiting for a process of the plugin: %w", ended, ctx.Err())
		}
	}
}

// down returns the error with the time to retry. p is locked.
func (p *pool) down() error {
	var next time.Time
	for _, at := range p.retry {
		if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return &backends.DownError{Reason: "its process is down: " + p.reason, RetryAfter: max(time.Second, time.Until(next))}
}

// release releases a slot.
func (p *pool) release(inst *instance) {
	p.change(func() {
		if inst.busy--; inst.alone {
			inst.busy, inst.alone = 0, false
		}
	})
}

// lose ends an instance and stops further calls of it.
func (p *pool) lose(inst *instance, cause error) {
	p.change(func() { inst.broken = true })
	inst.proc.kill(cause)
}

// replace is like lose for a process that did not fail.
func (p *pool) replace(inst *instance, cause error) {
	p.change(func() { inst.meant = true })
	p.lose(inst, cause)
}

// health returns nil while a process is up or about to be.
func (p *pool) health() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.up) > 0 || p.starting > 0 {
		return nil
	}
	return p.down()
}

// memory returns the bytes that the processes hold.
func (p *pool) memory() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := int64(0)
	for _, inst := range p.up {
		sum += inst.proc.memory.Load()
	}
	return sum
}

// close ends the processes and waits for them.
func (p *pool) close() {
	p.cancel()
	p.wg.Wait()
}
