package rest

import (
	"net"
	"sync"
	"sync/atomic"
)

// freshConns is a listener that knows which connections have not sent anything
// yet: fasthttp counts those as busy, and would wait for them when it shuts down.
type freshConns struct {
	net.Listener
	mu      sync.Mutex
	fresh   map[*freshConn]struct{}
	closing bool
}

// freshConn leaves its listener's list with the first byte that it reads.
type freshConn struct {
	net.Conn
	list *freshConns
	used atomic.Bool
}

// Accept implements net.Listener.
func (l *freshConns) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := &freshConn{Conn: c, list: l}
	l.fresh[fresh] = struct{}{}
	if l.closing {
		_ = c.Close()
	}
	return fresh, nil
}

// closeFresh closes the connections that have sent nothing, and those that still
// come.
func (l *freshConns) closeFresh() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
	for c := range l.fresh {
		_ = c.Conn.Close()
	}
}

func (l *freshConns) remove(c *freshConn) {
	l.mu.Lock()
	delete(l.fresh, c)
	l.mu.Unlock()
}

// Read implements net.Conn.
func (c *freshConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.used.Load() && c.used.CompareAndSwap(false, true) {
		c.list.remove(c)
	}
	return n, err
}

// Close implements net.Conn.
func (c *freshConn) Close() error {
	c.list.remove(c)
	return c.Conn.Close()
}
