package child

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"
)

// Limiter limits how many processes run at once and how much memory they are
// expected to need together. A nil Limiter has no limits. It is safe for concurrent
// use.
type Limiter struct {
	count  *semaphore.Weighted
	memory *semaphore.Weighted // nil: no limit
	bytes  int64
}

// NewLimiter returns a Limiter for n processes and, if bytes is not 0, for that much
// memory.
func NewLimiter(n int, bytes int64) *Limiter {
	l := &Limiter{count: semaphore.NewWeighted(int64(max(1, n))), bytes: bytes}
	if bytes > 0 {
		l.memory = semaphore.NewWeighted(bytes)
	}
	return l
}

// Acquire waits for the turn of a process that needs the given memory. Turns are in
// order of the calls. A process that needs more than the limit runs alone. The error
// is ctx's.
func (l *Limiter) Acquire(ctx context.Context, bytes int64) (release func(), err error) {
	if l == nil {
		return func() {}, nil
	}
	waiting := func(err error) error { return fmt.Errorf("waiting for other processes to end: %w", err) }
	if err := l.count.Acquire(ctx, 1); err != nil {
		return nil, waiting(err)
	}
	if l.memory == nil {
		return func() { l.count.Release(1) }, nil
	}
	bytes = min(max(bytes, 0), l.bytes)
	if err := l.memory.Acquire(ctx, bytes); err != nil {
		l.count.Release(1)
		return nil, waiting(err)
	}
	return func() { l.memory.Release(bytes); l.count.Release(1) }, nil
}
