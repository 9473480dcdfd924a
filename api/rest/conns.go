package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// connections is a listener that knows its connections. It outlives errors that
// pass, keeps the number of connections below a bound, and can end what clients
// have left unfinished.
type connections struct {
	net.Listener
	most    int
	log     *slog.Logger
	settled func(*account) // gives back what a connection's last request took

	closing atomic.Bool
	room    chan struct{} // has an item after a connection has ended
	done    chan struct{} // closed by Close
	close   sync.Once
	warned  time.Time // of a want of something, or of the bound; of Accept's caller alone

	mu   sync.Mutex
	open map[*conn]struct{}
}

func newConnections(ln net.Listener, most int, log *slog.Logger, settled func(*account)) *connections {
	return &connections{
		Listener: ln, most: most, log: log, settled: settled,
		open: map[*conn]struct{}{}, room: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

const (
	leastPause = 5 * time.Millisecond
	mostPause  = time.Second
)

// Accept implements net.Listener. It returns an error only when the listener has
// been closed, or will never work again.
func (l *connections) Accept() (net.Conn, error) {
	pause := leastPause
	for {
		if err := l.waitForRoom(); err != nil {
			return nil, err
		}
		c, err := l.Listener.Accept()
		if err == nil {
			return l.add(c), nil
		}
		if !passes(err) {
			return nil, err
		}
		l.warn("connections cannot be accepted now; idle ones are closed and it is tried again", "error", err)
		l.evict()
		select {
		case <-l.done:
			return nil, net.ErrClosed
		case <-l.room:
		case <-time.After(pause):
			pause = min(2*pause, mostPause)
		}
	}
}

// warn logs, once a minute at most.
func (l *connections) warn(message string, args ...any) {
	const often = time.Minute
	if now := time.Now(); now.Sub(l.warned) > often {
		l.warned = now
		l.log.Warn(message, args...) //nolint:sloglint // each caller's is constant
	}
}

// passes reports whether accepting may work again later.
func passes(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR, syscall.EPROTO, syscall.EAGAIN} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// waitForRoom returns when there are fewer connections than may be, having closed
// an idle one where it must.
func (l *connections) waitForRoom() error {
	for {
		if l.count() < l.most {
			return nil
		}
		l.warn("as many connections are open as may be: idle ones are closed for new ones", "connections", l.most)
		if l.evict() {
			continue
		}
		select {
		case <-l.done:
			return net.ErrClosed
		case <-l.room:
		case <-time.After(mostPause):
		}
	}
}

// evict closes a connection that waits for a request: one that has never sent
// anything before one that has. It reports whether there was one.
func (l *connections) evict() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	var idle *conn
	for c := range l.open {
		switch c.state.Load() {
		case connFresh:
			idle = c
		case connIdle:
			if idle == nil {
				idle = c
			}
			continue
		default:
			continue
		}
		break
	}
	if idle == nil {
		return false
	}
	delete(l.open, idle)
	_ = idle.Conn.Close() // its reader notices, and closes it in order
	return true
}

func (l *connections) add(c net.Conn) *conn {
	own := &conn{Conn: c, list: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[own] = struct{}{}
	if l.closing.Load() {
		own.hurry()
	}
	return own
}

func (l *connections) remove(c *conn) {
	l.mu.Lock()
	delete(l.open, c)
	l.mu.Unlock()
	select {
	case l.room <- struct{}{}:
	default:
	}
}

func (l *connections) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// Close implements net.Listener.
func (l *connections) Close() error {
	l.close.Do(func() { close(l.done) })
	if err := l.Listener.Close(); err != nil {
		return fmt.Errorf("closing the listener: %w", err)
	}
	return nil
}

// finish lets no connection begin another request: what has been received of one
// that is not complete is given up, answers that are on their way get a bounded
// time, and connections that are being closed are closed at once.
func (l *connections) finish() {
	l.closing.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.hurry()
	}
}

// cut waits until all connections are closed or ctx ends, and then closes those
// that are left. It returns how many that were.
func (l *connections) cut(ctx context.Context) int {
	for l.count() > 0 {
		select {
		case <-l.room:
			continue
		case <-ctx.Done():
		}
		break
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		_ = c.Conn.Close()
	}
	return len(l.open)
}

// The states of a connection.
const (
	connFresh  int32 = iota // nothing was received
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
	freshGrace = 250 * time.Millisecond // for a request that is on its way when the host stops
	writeGrace = 5 * time.Second        // for an answer that the client is slow to take, then
	lingerIdle = time.Second            // for the rest of a request whose answer has been sent
	lingerMost = 10 * time.Second
	lingerRead = 64 << 20
)

// hurry makes reads end: at once, or where nothing has been received yet, soon.
func (c *conn) hurry() {
	if c.state.Load() == connSocket { // which is told otherwise
		return
	}
	end := time.Unix(1, 0)
	if c.state.Load() == connFresh {
		end = time.Now().Add(freshGrace)
	}
	c.ending.Store(true)
	_ = c.Conn.SetReadDeadline(end)
	_ = c.Conn.SetWriteDeadline(time.Now().Add(writeGrace))
}

// Read implements net.Conn. The end that hurry has set is the end of the stream.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.state.Load() == connFresh {
		c.state.CompareAndSwap(connFresh, connActive)
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

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// SetReadDeadline implements net.Conn. A fresh connection of a host that stops
// keeps the end that it was given.
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
	if soon := time.Now().Add(writeGrace); c.ending.Load() && (t.IsZero() || t.After(soon)) {
		t = soon
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
	c.list.settled(&c.account)
	if !c.sawEnd.Load() && c.state.Load() == connActive {
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
