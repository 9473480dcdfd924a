package rest

import (
	"context"
	"runtime/debug"
	"time"
)

const (
	calmEvery       = 2 * time.Second
	calmBytes       = 32 << 20 // of requests, held at the same time
	calmConnections = 256      // open at the same time: each has buffers and a stack
)

// calmer decides when to return memory to the system: after a storm of requests, and
// twice more soon after, because batches of the storm may still be scored.
type calmer struct {
	bytes       int64 // peak of the present storm; 0: there is none
	connections int
	since       int // ticks since the last storm ended; negative: long ago
}

// tick takes the peak of held bytes since the last tick, and the present numbers. It
// reports whether to return memory.
func (k *calmer) tick(peak, bytes int64, connections int) bool {
	if peak >= calmBytes {
		k.bytes = max(k.bytes, peak)
	}
	if connections >= calmConnections {
		k.connections = max(k.connections, connections)
	}
	stormy := k.bytes > 0 || k.connections > 0
	switch {
	case stormy && bytes < calmBytes/4 && connections <= k.connections/4+calmConnections/4:
		*k = calmer{}
		return true
	case stormy:
		return false
	}
	const second, third = 3, 8
	if k.since >= 0 {
		k.since++
	}
	if k.since > third {
		k.since = -1
	}
	return k.since == second || k.since == third
}

// giveBack returns memory to the system after storms, until ctx ends. The collector
// alone would wait until as much garbage has accumulated again.
func (s *Server) giveBack(ctx context.Context) {
	tick := time.NewTicker(calmEvery)
	defer tick.Stop()
	k := calmer{since: -1}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if k.tick(s.budget.peak.Swap(s.budget.used.Load()), s.budget.used.Load(), s.OpenConnections()) {
			debug.FreeOSMemory()
		}
	}
}
