package config

// What is chosen where nothing limits the process, and at least.
const (
	mostInflight    = 256 << 20
	leastInflight   = 4 << 20
	mostWaiting     = 256 << 10
	leastWaiting    = 1 << 10
	rowBytes        = 1 << 10 // of a row that waits, its place in the answer included
	mostConnections = 64 << 10
	leastConnection = 16
)

// Fit fills in the limits that the configuration leaves open, from the memory
// that the process may use in bytes and the files that it may have open; 0 is no
// limit. The default of models.cache_bytes is lowered to half of the memory.
func (c *Config) Fit(memory int64, files uint64) {
	l := &c.Server.Limits
	if l.Inflight == 0 {
		l.Inflight = mostInflight
		if memory > 0 {
			l.Inflight = max(leastInflight, min(l.Inflight, memory/4))
		}
	}
	l.Body = min(l.Body, l.Inflight/3) // a body must fit, with a larger buffer beside it
	if l.Waiting == 0 {
		l.Waiting = mostWaiting
		if memory > 0 {
			l.Waiting = max(leastWaiting, min(l.Waiting, int(memory/4/rowBytes)))
		}
	}
	if l.Connections == 0 {
		l.Connections = mostConnections
		if files > 0 {
			l.Connections = int(max(leastConnection, min(mostConnections, files/4*3)))
		}
	}
	if memory > 0 && c.Models.CacheBytes == Default().Models.CacheBytes {
		c.Models.CacheBytes = min(c.Models.CacheBytes, memory/2)
	}
}
