package rest

import (
	"context"
	"runtime/debug"
	"time"
)

const (
	calmEvery       = 2 * time.Second
	calmBytes       = 32 << 20 // of requests that were held at once
	calmConnections = 256      // that were open at once: each has buffers and a stack
)

// calmer tells when memory is returned to the system: once a storm is over, and
// twice more soon after, since batches that it left are still scored by then.
type calmer struct {
	bytes       int64 // at the worst of the storm that goes on; 0: there is none
	connections int
	since       int // ticks since the last storm ended; negative: long ago
}

// tick is told the most bytes that were held since the last tick, and what there is
// now. It reports whether memory is to be returned.
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

// giveBack returns memory to the system after storms, until ctx ends: the collector
// alone would wait for as much garbage again.
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
