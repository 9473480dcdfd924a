package rest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// connections is a listener that tracks its connections. It continues after
// temporary errors, bounds the number of connections, and can end unfinished
// requests.
type connections struct {
	net.Listener
	most  int
	grace time.Duration // for requests that are arriving at a stop
	log   *slog.Logger

	accepted atomic.Int64 // time of the last, in nanoseconds since 1970
	closing  atomic.Bool
	room     chan struct{} // has an item after a connection has ended
	done     chan struct{} // closed by Close
	close    sync.Once
	warned   time.Time // time of the last warning about accepting; only Accept's caller uses it

	mu   sync.Mutex
	open map[*conn]struct{}
}

func newConnections(ln net.Listener, most int, grace time.Duration, log *slog.Logger) *connections {
	return &connections{
		Listener: ln, most: most, grace: grace, log: log,
		open: map[*conn]struct{}{}, room: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

const (
	leastPause = 5 * time.Millisecond
	mostPause  = time.Second
)

// Accept implements net.Listener. It returns an error only if the listener is closed
// or will never work again.
func (l *connections) Accept() (net.Conn, error) {
	wait := leastPause
	for {
		c, err := l.Listener.Accept()
		if err == nil {
			l.waitForRoom()
			return l.add(c), nil
		}
		if !passes(err) {
			return nil, err
		}
		if l.mayWarn() {
			l.log.Warn("connections cannot be accepted now; idle ones are closed before the next attempt", "error", err)
		}
		l.evict()
		select {
		case <-l.done:
			return nil, net.ErrClosed
		case <-l.room:
		case <-time.After(wait):
			wait = min(2*wait, mostPause)
		}
	}
}

// mayWarn reports whether a warning is due. There is at most one a minute.
func (l *connections) mayWarn() bool {
	const often = time.Minute
	now := time.Now()
	if now.Sub(l.warned) < often {
		return false
	}
	l.warned = now
	return true
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

// waitForRoom returns when another connection is allowed, for which it closes an
// idle one if it must, or when the listener is closed. It is called when a
// connection is already there: to make room in advance could close the newest
// connection before its request is read, although nobody else connects.
func (l *connections) waitForRoom() {
	for l.count() >= l.most {
		if l.mayWarn() {
			l.log.Warn("the limit of open connections is reached: idle ones are closed for new ones", "connections", l.most)
		}
		if l.evict() {
			continue
		}
		select {
		case <-l.done:
			return
		case <-l.room:
		case <-time.After(mostPause):
		}
	}
}

// slowAfter is how long a client may take to send a request, or to begin another one,
// while others wait for a connection.
const slowAfter = time.Second

// evict closes a connection that waits for a request: first one that has never sent
// anything, then the one whose last request is oldest, then the one whose request has
// been arriving longest, each for more than slowAfter. So many new connections do not
// end those of clients who use theirs. It reports whether it closed one.
func (l *connections) evict() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	slow := time.Now().Add(-slowAfter).UnixNano()
	var out *conn
	worst := int64(math.MaxInt64)
	for c := range l.open {
		rank, since := int64(math.MaxInt64), c.since.Load()
		switch state := c.state.Load(); {
		case state == connFresh:
			rank = math.MinInt64
		case state == connIdle && since < slow:
			rank = since + math.MinInt64/2
		case state == connReceiving && since < slow:
			rank = since
		}
		if rank < worst {
			out, worst = c, rank
		}
		if worst == math.MinInt64 {
			break
		}
	}
	if out == nil {
		return false
	}
	delete(l.open, out)
	_ = out.Conn.Close() // its reader notices, and closes it properly
	return true
}

func (l *connections) add(c net.Conn) *conn {
	own := &conn{Conn: c, list: l}
	l.accepted.Store(time.Now().UnixNano())
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

// finish closes the listener after it has accepted connections that are being
// established. From then on no connection begins another request. Incomplete
// requests are dropped, answers under way get a bounded time, and connections that
// are closing are closed at once.
func (l *connections) finish(ctx context.Context) {
	if err := quiet(l.Listener); err != nil {
		l.log.Debug("connections are made until the listener is closed", "error", err)
	} else if now := time.Now().UnixNano(); now-l.accepted.Load() < int64(time.Second) {
		pause(ctx, connectGrace)
	}
	accepting, cancel := context.WithTimeout(ctx, acceptGrace)
	for waiting(l.Listener) && accepting.Err() == nil { // they would be reset
		pause(accepting, leastPause)
	}
	cancel()
	_ = l.Close() // the server closes it again, and reports the error
	l.closing.Store(true)
	l.mu.Lock()
	for c := range l.open {
		c.hurry()
	}
	l.mu.Unlock()
	grace, cancel := context.WithTimeout(ctx, l.grace)
	defer cancel()
	l.wait(grace)
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// wait waits until all connections are closed, or ctx ends.
func (l *connections) wait(ctx context.Context) {
	for l.count() > 0 {
		select {
		case <-l.room:
		case <-ctx.Done():
			return
		}
	}
}

// cut closes the connections that are left when ctx ends, and returns their number.
func (l *connections) cut(ctx context.Context) int {
	l.wait(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		_ = c.Conn.Close()
	}
	return len(l.open)
}
