package rest

import (
	"context"
	"runtime/debug"
	"time"
)

const (
	calmEvery = 2 * time.Second
	calmAfter = 32 << 20 // bytes of requests that were held at once
)

// giveBack returns memory to the system when many bytes of requests were held and
// are not any more, until ctx ends: the collector alone would wait for as much
// garbage again.
func (s *Server) giveBack(ctx context.Context) {
	tick := time.NewTicker(calmEvery)
	defer tick.Stop()
	stormy := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		peak, now := s.budget.peak.Swap(s.budget.used.Load()), s.budget.used.Load()
		switch {
		case peak >= calmAfter:
			stormy = true
		case stormy && now < calmAfter/4:
			stormy = false
			debug.FreeOSMemory()
		}
	}
}
