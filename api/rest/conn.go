package rest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// The states of a connection.
const (
	connFresh     int32 = iota // nothing of a request was received
	connIdle                   // between two requests
	connReceiving              // a request is being received
	connActive                 // a request is being answered
	connSocket                 // a WebSocket
)

// conn is a client's connection. One goroutine at a time serves it.
type conn struct {
	net.Conn
	account
	list   *connections
	state  atomic.Int32
	since  atomic.Int64 // when a request began to arrive, in nanoseconds since 1970
	ending atomic.Bool  // no further request is read
	sawEnd atomic.Bool  // the client has closed its half

	hurrying sync.Mutex // a hurry sets both deadlines before another one begins

	readBy, readSet, writeSet time.Time // the wanted deadline of reads, and the deadlines that are set
	direct                    bool      // deadlines are set at once
}

const (
	requestGrace = 250 * time.Millisecond // for a request that is arriving when the host stops; Config may set another
	connectGrace = 100 * time.Millisecond // for a connection that is being established then
	acceptGrace  = 5 * time.Second        // for connections that are established but not accepted
	writeGrace   = 5 * time.Second        // for an answer to a slow client, when the host stops
	slack        = time.Second            // how much too early a deadline may end
	lingerIdle   = time.Second            // for the rest of a request whose answer was sent
	lingerMost   = 10 * time.Second
	lingerRead   = 64 << 20
)

// hurry makes reads end after the grace of a stop, and writes after writeGrace.
func (c *conn) hurry() {
	if c.state.Load() == connSocket { // WebSockets end in another way
		return
	}
	c.hurrying.Lock()
	defer c.hurrying.Unlock()
	now := time.Now()
	c.ending.Store(true)
	_ = c.Conn.SetReadDeadline(now.Add(c.list.grace))
	_ = c.Conn.SetWriteDeadline(now.Add(writeGrace))
}

// Read implements net.Conn. The deadline that hurry sets is the end of the stream,
// but what has arrived by then is still read.
func (c *conn) Read(b []byte) (int, error) {
	if !c.direct && !near(c.readSet, c.readBy) {
		c.readSet = c.readBy
		if err := c.setRead(c.readBy); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Read(b)
	if err != nil && c.ending.Load() && isTimeout(err) {
		if here := c.readArrived(b); here > 0 {
			n, err = here, nil
		}
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			c.sawEnd.Store(true)
		} else if c.ending.Load() && isTimeout(err) {
			return n, io.EOF
		}
	}
	return n, err //nolint:wrapcheck // a net.Conn's errors are its own
}

// readArrived reads what the kernel holds, whatever the deadline is.
func (c *conn) readArrived(b []byte) int {
	raw, ok := c.Conn.(syscall.Conn)
	if !ok {
		return 0
	}
	control, err := raw.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	if err := control.Control(func(fd uintptr) { n = receive(fd, b) }); err != nil {
		return 0 // it is closed
	}
	return n
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// near reports whether a deadline that is set is close enough to the wanted one.
func near(set, wanted time.Time) bool {
	early := wanted.Sub(set)
	return 0 <= early && early <= slack
}

// SetReadDeadline implements net.Conn. While the host stops, a connection keeps the
// deadline of hurry.
//
// The server sets three deadlines per request, which hardly ever matter. So a
// deadline is set only when something is read and the present deadline is not near.
// Once a deadline has been removed, deadlines are set at once: whoever removes them
// may read in another goroutine than the one that sets them.
func (c *conn) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		c.direct = true
	}
	if !c.direct {
		c.readBy = t
		return nil
	}
	return c.setRead(t)
}

func (c *conn) setRead(t time.Time) error {
	if c.ending.Load() {
		return nil
	}
	err := c.Conn.SetReadDeadline(t)
	if c.ending.Load() { // hurry came between
		c.hurry()
	}
	return err //nolint:wrapcheck // the same
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	if c.ending.Load() {
		if soon := time.Now().Add(writeGrace); t.IsZero() || t.After(soon) {
			t = soon
		}
	} else if !c.direct && near(c.writeSet, t) {
		return nil
	}
	if !c.direct {
		c.writeSet = t
	}
	return c.Conn.SetWriteDeadline(t) //nolint:wrapcheck // the same
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Close implements net.Conn. A client that is still sending must be able to read its
// answer. If the connection were closed with unread data, the kernel would reset it
// and discard the answer. So Close reads and drops the rest, within bounds.
func (c *conn) Close() error {
	defer c.list.remove(c)
	if state := c.state.Load(); !c.sawEnd.Load() && state >= connReceiving {
		c.state.Store(connActive) // a WebSocket has said goodbye: hurry concerns it as well
		c.linger()
	}
	return c.Conn.Close() //nolint:wrapcheck // the same
}

func (c *conn) linger() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	end := time.Now().Add(lingerMost)
	buf := make([]byte, 16<<10)
	for read := 0; read < lingerRead && !c.ending.Load(); {
		next := time.Now().Add(lingerIdle)
		if next.After(end) {
			next = end
		}
		if c.Conn.SetReadDeadline(next) != nil {
			return
		}
		n, err := c.Conn.Read(buf)
		if err != nil {
			return
		}
		read += n
	}
}

// Gone implements until.Caller. It reports whether the client has closed the
// connection or its half of it.
func (c *conn) Gone() bool {
	raw, ok := c.Conn.(syscall.Conn)
	if !ok {
		return false
	}
	control, err := raw.SyscallConn()
	if err != nil {
		return true
	}
	gone := false
	if err := control.Control(func(fd uintptr) { gone = hungUp(fd) }); err != nil {
		return true // it is closed
	}
	return gone
}

// connOf returns the conn below the connection that fasthttp passes, or nil if it is
// not from a connections listener.
func connOf(c net.Conn) *conn {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	own, _ := c.(*conn)
	return own
}

// received records that a request has arrived, or as much of it as will be read.
func received(c net.Conn) {
	if own := connOf(c); own != nil {
		own.state.CompareAndSwap(connReceiving, connActive)
	}
}

// changed is fasthttp's callback for changes of a connection's state.
func (s *Server) changed(nc net.Conn, to fasthttp.ConnState) {
	c := connOf(nc)
	if c == nil {
		return
	}
	switch to {
	case fasthttp.StateActive:
		c.since.Store(time.Now().UnixNano())
		c.state.Store(connReceiving)
		return
	case fasthttp.StateIdle:
		c.state.Store(connIdle)
		if c.list.closing.Load() {
			c.hurry()
		}
	case fasthttp.StateHijacked:
		c.state.Store(connSocket)
	case fasthttp.StateNew, fasthttp.StateClosed:
	}
	s.settle(&c.account)
}
