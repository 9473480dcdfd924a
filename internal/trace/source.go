package trace

import (
	"math"
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"
)

// Source decides which requests are recorded, and starts their spans. It is safe for
// concurrent use. A nil Source records nothing.
type Source struct {
	random func() uint64
	now    atomic.Pointer[sampling]
}

// sampling says what a Source records.
type sampling struct {
	tracer trace.Tracer
	below  uint64 // of 1<<63
}

// NewSource returns a Source that records nothing until Record is called.
func NewSource(random func() uint64) *Source { return &Source{random: random} }

// Record makes the source record with a tracer, which must record every span that it
// starts: requests of callers who record their traces and, of those without a trace,
// a share from 0 to 1. With a nil tracer the source records nothing.
func (s *Source) Record(tracer trace.Tracer, share float64) {
	if tracer == nil {
		s.now.Store(nil)
		return
	}
	s.now.Store(&sampling{tracer: tracer, below: uint64(math.Ldexp(min(max(share, 0), 1), 63))})
}

// Begin starts the span of a request whose caller is at parent, which may be nil. If
// the request is not recorded, Begin returns the parent.
func (s *Source) Begin(parent *Span, name string) *Span {
	if s == nil {
		return parent
	}
	now := s.now.Load()
	switch {
	case now == nil, parent != nil && !parent.Sampled():
		return parent
	case parent == nil && s.random()>>1 >= now.below:
		return nil
	}
	return Root(now.tracer, parent, name)
}
