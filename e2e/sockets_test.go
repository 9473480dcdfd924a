//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/fasthttp/websocket"
)

// socket is a WebSocket of a client that sends one message after another.
type socket struct{ conn *websocket.Conn }

// sockets makes the load messages of n WebSockets, which stay open until a host
// closes them.
func (l *load) sockets(n int) {
	l.open = make(chan *socket, n)
	for range n {
		l.open <- &socket{}
	}
}

// message sends a row over a WebSocket. If the host says that it goes, the client
// connects again and repeats the message, as any client must.
func (l *load) message(row int) (string, float64, error) {
	s := <-l.open
	defer func() { l.open <- s }()
	for {
		if s.conn == nil {
			if err := l.dial(s); err != nil {
				return "", 0, err
			}
		}
		_ = s.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		_ = s.conn.WriteMessage(websocket.TextMessage, []byte(l.body(row))) // the host may have said already that it goes
		_, text, err := s.conn.ReadMessage()
		if err == nil {
			return read(text)
		}
		_ = s.conn.Close()
		s.conn = nil
		if !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			return "", 0, fmt.Errorf("a WebSocket ended: %w", err)
		}
	}
}

// dial connects a socket.
func (l *load) dial(s *socket) error {
	url := strings.Replace(l.url, "http://", "ws://", 1) + "/stream"
	conn, resp, err := websocket.DefaultDialer.Dial(url, http.Header{"Host": {l.host}, "X-Api-Key": {l.key}})
	if err != nil {
		if resp != nil {
			err = errors.Join(err, errors.New(resp.Status))
		}
		return fmt.Errorf("opening a WebSocket: %w", err)
	}
	s.conn = conn
	return nil
}

// hangUp closes all WebSockets once no message is pending.
func (l *load) hangUp() {
	for range cap(l.open) {
		s := <-l.open
		if s.conn != nil {
			_ = s.conn.Close()
			s.conn = nil
		}
		defer func() { l.open <- s }()
	}
}
