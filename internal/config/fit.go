package config

// The limits without bounds on the process, and their least values.
const (
	mostInflight    = 256 << 20
	leastInflight   = 4 << 20
	mostWaiting     = 256 << 10
	leastWaiting    = 1 << 10
	rowBytes        = 1 << 10 // of a waiting row and its answer
	mostConnections = 64 << 10
	leastConnection = 16
)

// Fit fills in the limits that the configuration leaves open. memory is what the
// process may use, in bytes, and files is how many files it may have open; 0 means
// no limit. Fit lowers the default of models.cache_bytes to half of memory.
func (c *Config) Fit(memory int64, files uint64) {
	l := &c.Server.Limits
	if l.Inflight == 0 {
		l.Inflight = mostInflight
		if memory > 0 {
			l.Inflight = max(leastInflight, min(l.Inflight, memory/4))
		}
	}
	l.Body = min(l.Body, l.Inflight/3) // a body needs space, and a larger buffer besides
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
