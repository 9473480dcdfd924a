package batching

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Figures describe a detector's slots at one moment, and count their calls since
// they were made.
type Figures struct {
	Slots   int           // calls that may run at once
	Busy    int           // running calls
	Stuck   int           // running calls past their deadline
	Waiting int           // single rows that wait for a call
	Oldest  time.Duration // how long the first one has waited
	Calls   [len(CallSizes) + 1]uint64
	Rows    uint64 // of all calls
}

// CallSizes are the upper bounds of rows per call for Figures.Calls, whose last
// count is of larger calls.
var CallSizes = [...]int{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384}

// sizes counts calls by their rows.
type sizes struct {
	calls [len(CallSizes) + 1]atomic.Uint64
	rows  atomic.Uint64
}

func (s *sizes) count(rows int) {
	s.calls[bin(rows)].Add(1)
	s.rows.Add(uint64(rows))
}

// bin returns the index of a number of rows in CallSizes.
func bin(rows int) int {
	n := bits.Len(uint(max(1, rows) - 1)) // rows <= 1<<n
	switch {
	case n <= 10:
		return n
	case n <= 12:
		return 11
	case n <= 14:
		return 12
	}
	return len(CallSizes)
}

// Figures returns the present figures.
func (s *Slots) Figures(now time.Time) Figures {
	f := Figures{Slots: cap(s.free), Busy: len(s.free), Stuck: int(s.stuck.Load()), Rows: s.sizes.rows.Load()}
	for i := range f.Calls {
		f.Calls[i] = s.sizes.calls[i].Load()
	}
	if s.merger != nil {
		f.Waiting, f.Oldest = s.merger.waiting(now)
	}
	return f
}

// waiting returns how many rows wait, and how long the first one has waited.
func (g *merger) waiting(now time.Time) (int, time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.queue) == 0 {
		return 0, 0
	}
	return len(g.queue), max(0, now.Sub(g.queue[0].since))
}
