package rest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// The states of a connection.
const (
	connFresh  int32 = iota // nothing of a request was received
	connIdle                // between two requests
	connActive              // a request is being received or answered
	connSocket              // a WebSocket
)

// conn is a connection of a client. One goroutine at a time serves it.
type conn struct {
	net.Conn
	account
	list   *connections
	state  atomic.Int32
	ending atomic.Bool // no further request is read
	sawEnd atomic.Bool // the client has sent all that it will
}

const (
	requestGrace = 250 * time.Millisecond // for what is on its way of a request when the host stops
	connectGrace = 100 * time.Millisecond // for a connection that is being made then
	acceptGrace  = time.Second            // for connections that are made, but not accepted yet
	writeGrace   = 5 * time.Second        // for an answer that the client is slow to take, then
	lingerIdle   = time.Second            // for the rest of a request whose answer has been sent
	lingerMost   = 10 * time.Second
	lingerRead   = 64 << 20
)

// hurry makes reads end after requestGrace, and writes after writeGrace.
func (c *conn) hurry() {
	if c.state.Load() == connSocket { // which is told otherwise
		return
	}
	now := time.Now()
	c.ending.Store(true)
	_ = c.Conn.SetReadDeadline(now.Add(requestGrace))
	_ = c.Conn.SetWriteDeadline(now.Add(writeGrace))
}

// Read implements net.Conn. The end that hurry has set is the end of the stream.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		if errors.Is(err, io.EOF) {
			c.sawEnd.Store(true)
		} else if c.ending.Load() && isTimeout(err) {
			return n, io.EOF
		}
	}
	return n, err //nolint:wrapcheck // a net.Conn's errors are its own
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// SetReadDeadline implements net.Conn. A connection of a host that stops keeps the
// end that it was given.
func (c *conn) SetReadDeadline(t time.Time) error {
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
	}
	return c.Conn.SetWriteDeadline(t) //nolint:wrapcheck // the same
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Close implements net.Conn. A client that is still sending must be able to read
// the answer that it was given: the kernel would reset the connection, and throw
// the answer away, if it were closed with something unread. So the rest is read
// and dropped, within bounds.
func (c *conn) Close() error {
	defer c.list.remove(c)
	if state := c.state.Load(); !c.sawEnd.Load() && (state == connActive || state == connSocket) {
		c.state.Store(connActive) // a WebSocket has said goodbye: hurry is for it, too
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

// Gone implements until.Caller: it reports whether the client has closed the
// connection, or its half of it.
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

// connOf returns the connection below what fasthttp hands on; nil: it is none of
// a connections listener.
func connOf(c net.Conn) *conn {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	own, _ := c.(*conn)
	return own
}

// changed is told by fasthttp what becomes of a connection.
func (s *Server) changed(nc net.Conn, to fasthttp.ConnState) {
	c := connOf(nc)
	if c == nil {
		return
	}
	switch to {
	case fasthttp.StateActive:
		c.state.Store(connActive)
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
