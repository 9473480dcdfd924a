package rest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/access/gate"
	"github.com/pynomaly/pynomaly-runtime/api/access/limits"
	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/trace"
	"github.com/pynomaly/pynomaly-runtime/internal/until"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/predict"
)

const (
	pingEvery    = 30 * time.Second
	silence      = 75 * time.Second // after which a peer that answers no ping is considered gone
	writeTimeout = 10 * time.Second
)

// sockets has the open WebSocket connections.
type sockets struct {
	mu     sync.Mutex
	open   map[*websocket.Conn]struct{}
	closed bool
	wg     sync.WaitGroup
}

// add adds a connection, and returns false if the server is shutting down.
func (s *sockets) add(c *websocket.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.open == nil {
		s.open = map[*websocket.Conn]struct{}{}
	}
	s.open[c] = struct{}{}
	s.wg.Add(1)
	return true
}

func (s *sockets) remove(c *websocket.Conn) {
	s.mu.Lock()
	delete(s.open, c)
	s.mu.Unlock()
	s.wg.Done()
}

func (s *sockets) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// shutdown makes every connection end after its present answer.
func (s *sockets) shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // wakes the reader, which says goodbye
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for WebSockets to close: %w", ctx.Err())
	}
}

// within gives a peer time for its next message, unless the server shuts down.
func (s *sockets) within(c *websocket.Conn, d time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	return c.SetReadDeadline(time.Now().Add(d))
}

func (s *sockets) closing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// socketMessage is a kind of messages with its handler.
type socketMessage struct {
	Message
	answer func(from *socketCaller, kind int, body []byte, key string) []byte
}

// socketCaller is the caller that opened a WebSocket. Its credential is checked
// again for each message, so that a revoked credential is good for no more messages.
type socketCaller struct {
	shown     *access.Credentials
	connected until.Caller
	gate      gate.Caller
	principal *access.Principal
	span      *trace.Span // of the handshake's sender; nil: none
}

// admitMessage lets a message in, or returns why not. over means that the connection
// must end.
func (s *Server) admitMessage(from *socketCaller, m *Message) (over bool, err error) {
	action, err := m.Action.parse()
	if err != nil {
		return true, err
	}
	p, err := s.cfg.Gate.Enter(s.base, from.shown, streamPath)
	if err != nil {
		return true, s.cfg.Gate.Refuse(err, from.shown.Any(), action, from.gate)
	}
	from.principal = p
	if err := access.Decide(p, action, ""); err != nil && !s.cfg.Gate.Public(streamPath) {
		return true, s.cfg.Gate.Deny(err, p, action, "", from.gate)
	}
	return false, s.cfg.Gate.Count(limits.Predict, p, from.gate.Address) //nolint:wrapcheck // it becomes a problem
}

// stream returns a handler for WebSockets whose messages are all of one kind.
func (s *Server) stream(of socketMessage) fiber.Handler {
	upgrade := websocket.New(func(c *websocket.Conn) { s.serveSocket(c, of) }, websocket.Config{HandshakeTimeout: writeTimeout, Subprotocols: []string{"bearer"}})
	return func(c *fiber.Ctx) error {
		if !websocket.IsWebSocketUpgrade(c) {
			return fiber.ErrUpgradeRequired
		}
		c.Locals(routingKeyLocal, string(peek(&c.Request().Header, routingKeyHeader)))
		var shown access.Credentials
		s.credentials(c, &shown)
		span := callerSpan(c)
		from := &socketCaller{shown: shown.Clone(), connected: callerOf(c), span: span, gate: gate.Caller{Address: s.address(c), TraceID: span.TraceID()}}
		c.Locals(requestLocal, from)
		return upgrade(c)
	}
}

const (
	routingKeyLocal = "routing_key"
	requestLocal    = "request"
)

func (s *Server) serveSocket(c *websocket.Conn, of socketMessage) {
	if !s.sockets.add(c) {
		s.goodbye(c, websocket.CloseGoingAway, "the host is shutting down")
		return
	}
	defer s.sockets.remove(c)
	key, _ := c.Locals(routingKeyLocal).(string)
	from, _ := c.Locals(requestLocal).(*socketCaller)
	var account account
	c.SetReadLimit(int64(s.cfg.BodyLimit))
	receiving := false // a message has begun; pings in the middle do not extend its time
	alive := func(string) error {
		if receiving {
			return nil
		}
		return s.sockets.within(c, silence)
	}
	c.SetPongHandler(alive)
	c.SetPingHandler(func(data string) error {
		_ = c.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(writeTimeout))
		return alive("")
	})
	_ = alive("")
	stop := s.pinging(c)
	defer stop()
	for {
		kind, message, err := s.receive(c, &account, &receiving)
		var refused *api.Problem
		if err != nil && !errors.As(err, &refused) {
			s.notReceived(c, err, receiving)
			return
		}
		receiving = false
		_ = alive("")
		var text []byte
		if message != nil {
			text = message.b
		}
		answer, over := s.answerMessage(from, &of, kind, text, key, refused)
		s.buffers.put(message)
		s.settle(&account)
		_ = c.SetWriteDeadline(time.Now().Add(writeTimeout)) // scoring may have taken longer
		if err := c.WriteMessage(websocket.TextMessage, answer); err != nil {
			return
		}
		switch {
		case over:
			s.goodbye(c, websocket.ClosePolicyViolation, "the credential is no longer valid")
			return
		case s.sockets.closing():
			s.goodbye(c, websocket.CloseGoingAway, "the host is shutting down")
			return
		}
	}
}

// notReceived ends a connection whose next message did not arrive.
func (s *Server) notReceived(c *websocket.Conn, err error, receiving bool) {
	switch {
	case s.sockets.closing():
		s.goodbye(c, websocket.CloseGoingAway, "the host is shutting down")
	case websocket.IsCloseError(err, websocket.CloseMessageTooBig):
		s.goodbye(c, websocket.CloseMessageTooBig, "the message is too large")
	case receiving && isTimeout(err):
		s.goodbye(c, websocket.ClosePolicyViolation, fmt.Sprintf("the message did not arrive within %v", s.cfg.Receive))
	}
}

// answerMessage answers a message, or says why it was refused. over means that the
// connection ends.
func (s *Server) answerMessage(from *socketCaller, of *socketMessage, kind int, body []byte, key string, refused *api.Problem) (answer []byte, over bool) {
	if refused != nil {
		return s.socketProblem(nil, &request{}, s.nextID(), from.span, refused), false
	}
	if over, err := s.admitMessage(from, &of.Message); err != nil {
		return s.socketProblem(nil, &request{}, s.nextID(), from.span, err), over
	}
	return of.answer(from, kind, body, key), false
}

// receive reads a message into a buffer, which the caller returns with
// s.buffers.put. It sets receiving once a message has begun, and takes no longer
// than a body may. If the error is an *api.Problem, the client gets it and may send
// another message.
func (s *Server) receive(c *websocket.Conn, a *account, receiving *bool) (kind int, message *buffer, err error) {
	kind, r, err := c.NextReader()
	if err != nil {
		return 0, nil, err //nolint:wrapcheck // the caller looks at its type
	}
	*receiving = true
	if err := s.sockets.within(c, s.cfg.Receive); err != nil {
		return 0, nil, err
	}
	message = s.buffers.get(firstBytes)
	if err := s.readAll(a, message, r, -1); err != nil {
		s.buffers.put(message)
		s.settle(a)
		return kind, nil, err
	}
	return kind, message, nil
}

// pinging keeps a connection alive until the returned function is called.
func (s *Server) pinging(c *websocket.Conn) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(pingEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if c.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTimeout)) != nil {
					return
				}
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

func (s *Server) goodbye(c *websocket.Conn, code int, text string) {
	_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), time.Now().Add(writeTimeout))
}

// message answers WS /api/v1/predict/stream: each text message is a predict request,
// and has its own span below that of the handshake's sender.
func (s *Server) message(from *socketCaller, kind int, body []byte, key string) []byte {
	start := s.cfg.Now()
	requestID := s.nextID()
	span := s.cfg.Traces.Begin(from.span, "WS "+streamPath)
	if kind != websocket.TextMessage {
		return s.socketProblem(nil, &request{}, requestID, span, api.NewProblem(api.ValidationError, "", "send text messages: a JSON object each"))
	}
	ctx := s.contextOf(until.Request{Caller: from.connected, Principal: viewer(from.principal), Span: span}, start)
	defer ctx.End()
	r := s.request(ctx, predict.Call{Start: start, Single: true, Streamed: true, RoutingKey: key, RequestID: requestID})
	defer s.end(r)
	if err := s.decode(ctx, r, body, streaming); err != nil {
		return s.socketProblem(nil, r, requestID, span, err)
	}
	result, err := s.pipeline.Do(ctx, &r.Call)
	if s.cfg.AuditPredictions {
		s.predicted(from.principal, gate.Caller{Address: from.gate.Address, RequestID: requestID, TraceID: span.TraceID()}, r, err)
	}
	if err != nil {
		return s.socketProblem(r.Model(), r, requestID, span, ofOneRow(err))
	}
	encode := span.Child("encode")
	answer := appendSingle(nil, r, result)
	encode.End()
	answered(span, requestID, nil)
	return answer
}

// socketProblem returns the answer to a message that failed, and ends its span.
func (s *Server) socketProblem(m *model.Model, r *request, requestID string, span *trace.Span, err error) []byte {
	p := *asProblem(err, backends.PublicText)
	s.count(m, p.ErrorType)
	p.RequestID = requestID
	s.logFailure(streamPath, &p, err, span)
	p.ID = r.id
	answered(span, requestID, &p)
	return appendProblem(nil, &p)
}
