// Package rest serves models over HTTP and WebSocket, on fiber.
//
// It reads requests, calls the runtime and writes answers. It does not find, load or
// score models.
package rest

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/access/gate"
	"github.com/pynomaly/pynomaly-runtime/internal/logs"
	"github.com/pynomaly/pynomaly-runtime/internal/trace"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/predict"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// Config configures a Server.
type Config struct {
	Version      string        // of the host, for /health
	Timeout      time.Duration // of one request
	Receive      time.Duration // for a whole request or message to arrive; 0: 30 s
	BodyLimit    int           // bytes
	MaxRows      int           // in one request
	Inflight     int64         // bytes of all requests and answers together; 0: no bound
	Connections  int           // open at the same time; 0: no bound
	Grace        time.Duration // at a stop, for requests that are arriving; 0: 250 ms
	Full         func() error  // why no batch is accepted now, such as Calls.Full; nil: all are accepted
	Loopback     bool          // only this machine reaches the listener
	Hosts        []string      // names of this host, in lower case, besides addresses and localhost
	Origins      []string      // origins of other sites whose pages may use this host, such as https://example.com; see SetOrigins
	HSTS         time.Duration // how long browsers must use TLS only; 0: not said. Set it only for a server with TLS.
	DefaultModel string
	Samples      int      // rows kept of each version to compare others with it; 0: none
	SampleModels []string // models whose rows are kept; empty: all
	// Gate decides who may send which request. Answers do not mention models that
	// the principal may not see. Nil lets everybody do everything.
	Gate             *gate.Gate
	AuditPredictions bool
	Traces           *trace.Source // starts the spans of requests; nil: none are recorded
	Now              func() time.Time
	Log              *slog.Logger      // of the server
	Predictions      *logs.Predictions // one line per request; nil: none
}

const (
	retryAfter   = time.Second
	headerBytes  = 16 << 10
	readTimeout  = 30 * time.Second
	idleTimeout  = 60 * time.Second
	maxRequestID = 128
	streamPath   = "/api/v1/predict/stream"
)

// Server answers requests. It is safe for concurrent use.
type Server struct {
	cfg        Config
	registry   *registry.Registry
	app        *fiber.App
	listed     []route         // all routes
	base       context.Context // ends when running requests must end
	stop       context.CancelFunc
	started    time.Time
	draining   atomic.Bool
	stopped    atomic.Bool // Shutdown was called
	pipeline   *predict.Pipeline
	requests   sync.Pool // of *request
	idPrefix   string
	idCount    atomic.Uint64
	sockets    sockets
	conns      atomic.Pointer[connections]
	budget     budget
	buffers    buffers
	codecs     codecs
	metrics    *metrics
	mu         sync.Mutex
	origins    atomic.Pointer[[]string]
	protection []headerField
	hsts       headerField
	failures   map[api.ErrorType]uint64 // of requests that named no existing model
}

// New returns a server, and registers its metrics with reg.
func New(cfg Config, registry *registry.Registry, reg *prometheus.Registry) (*Server, error) {
	var prefix [4]byte
	if _, err := rand.Read(prefix[:]); err != nil {
		return nil, fmt.Errorf("making a prefix for request ids: %w", err)
	}
	s := &Server{
		cfg: cfg, registry: registry, started: cfg.Now(),
		idPrefix: hex.EncodeToString(prefix[:]) + "-", protection: protection(), hsts: hsts(cfg.HSTS), failures: map[api.ErrorType]uint64{},
		pipeline: predict.New(predict.Config{Now: cfg.Now, Log: cfg.Predictions, Samples: cfg.Samples, SampleModels: cfg.SampleModels}, registry),
	}
	s.SetOrigins(cfg.Origins)
	var err error
	if s.cfg.Gate == nil {
		if s.cfg.Gate, err = gate.Open(cfg.Now, cfg.Log); err != nil {
			return nil, fmt.Errorf("making a gate: %w", err)
		}
	}
	s.cfg.Receive = cmp.Or(cfg.Receive, readTimeout)
	if s.cfg.Connections <= 0 {
		s.cfg.Connections = math.MaxInt
	}
	if s.budget.most = cfg.Inflight; s.budget.most > 0 { // a body needs space, and a larger buffer besides
		s.cfg.BodyLimit = int(min(int64(cfg.BodyLimit), s.budget.most/3))
	}
	s.base, s.stop = context.WithCancel(context.Background())
	s.app = fiber.New(fiber.Config{
		AppName:               "pynomaly-runtime",
		DisableStartupMessage: true,
		BodyLimit:             s.cfg.BodyLimit,
		StreamRequestBody:     true, // so that memory is used for what has arrived, not for what is announced
		ReadBufferSize:        headerBytes,
		ReadTimeout:           s.cfg.Receive,
		IdleTimeout:           idleTimeout,
		WriteTimeout:          cfg.Timeout + s.cfg.Receive,
		ErrorHandler:          s.handleError,
		StrictRouting:         true, // a path has one spelling, so that a proxy's rules match what is routed
		CaseSensitive:         true,

		DisablePreParseMultipartForm: true, // no route accepts forms, whose files would be written to the disk
	})
	s.app.Server().ConnState = s.changed
	s.app.Server().ExpectHandler = s.expected
	s.app.Server().LazyRequestTime = true // nobody asks for it
	s.app.Server().CloseOnShutdown = true // for an answer that was made before a stop and is sent after it
	if s.metrics, err = newMetrics(s, reg); err != nil {
		return nil, err
	}
	if err := newWorkMetrics(s, reg); err != nil {
		return nil, err
	}
	if err := s.routes(reg); err != nil {
		return nil, err
	}
	s.app.Server().Handler = s.knownMethods(s.app.Handler())
	return s, nil
}

// knownMethods answers methods that fiber does not know like methods that a path
// does not have.
func (s *Server) knownMethods(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		if ctx.IsPost() || ctx.IsGet() || slices.Contains(fiber.DefaultMethods, string(ctx.Method())) {
			next(ctx)
			return
		}
		ctx.Request.Header.SetMethod(fiber.MethodTrace) // no path has it
		next(ctx)
	}
}

// Serve answers on a listener until Shutdown. After Shutdown it closes the listener.
func (s *Server) Serve(ln net.Listener, tlsConfig *tls.Config) error {
	conns := newConnections(ln, s.cfg.Connections, cmp.Or(s.cfg.Grace, requestGrace), s.cfg.Log)
	s.conns.Store(conns)
	if s.stopped.Load() { // Shutdown has seen no listener
		return conns.Close()
	}
	ln = conns
	if tlsConfig != nil {
		ln = tls.NewListener(ln, tlsConfig)
	}
	var calming sync.WaitGroup
	calming.Go(func() { s.giveBack(s.base) })
	defer calming.Wait()
	if err := s.app.Listener(ln); err != nil {
		s.stop()
		return fmt.Errorf("serving %s: %w", ln.Addr(), err)
	}
	return nil
}

// Drain makes /ready answer 503, and every answer close its connection, so that
// traffic goes elsewhere while the server continues.
func (s *Server) Drain() { s.draining.Store(true) }

// OpenConnections returns the number of clients' connections.
func (s *Server) OpenConnections() int {
	if l := s.conns.Load(); l != nil {
		return l.count()
	}
	return 0
}

// Shutdown ends WebSockets after their last answer, closes the listener, drops
// requests that have not arrived completely, and waits for running requests until
// ctx ends. Then it closes the remaining connections, and the error says how many.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	s.stopped.Store(true)
	errs := []error{s.sockets.shutdown(ctx)}
	conns := s.conns.Load()
	if conns != nil {
		conns.finish(ctx)
	}
	if err := s.app.ShutdownWithContext(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		errs = append(errs, fmt.Errorf("waiting for requests to end: %w", err))
	}
	if conns != nil {
		if n := conns.cut(ctx); n > 0 {
			errs = append(errs, fmt.Errorf("%d connections were cut off", n))
		}
	}
	s.stop()
	return errors.Join(errs...)
}

// around wraps each request: it refuses requests of other sites' pages, and makes
// clients reconnect elsewhere while the server drains.
func (s *Server) around(c *fiber.Ctx) error {
	if c.Context().RequestBodyStream() == nil {
		received(c.Context().Conn())
	}
	s.protect(c.Context())
	err := s.fromPage(c)
	if err != nil {
		err = s.fail(c, nil, err)
	} else if answered, failed := s.share(c); answered {
		err = failed
	} else {
		err = c.Next()
	}
	if s.draining.Load() {
		c.Response().SetConnectionClose()
	}
	s.lend(c)
	return err
}

// requestID returns the client's X-Request-ID or a new one, and sets it in the
// answer.
func (s *Server) requestID(c *fiber.Ctx) string {
	key := []byte(requestIDHeader)
	if known := c.Response().Header.PeekCanonical(key); len(known) > 0 {
		return string(known)
	}
	given := peek(&c.Request().Header, requestIDHeader)
	if len(given) > 0 && len(given) <= maxRequestID && printable(given) {
		c.Response().Header.SetCanonical(key, given)
		return string(given)
	}
	id := s.nextID()
	c.Response().Header.SetCanonical(key, []byte(id))
	return id
}

func (s *Server) nextID() string {
	var space [40]byte // holds the prefix and 20 digits
	return string(strconv.AppendUint(append(space[:0], s.idPrefix...), s.idCount.Add(1), 10))
}

func printable(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// fail answers with a problem and counts it for the model, if there is one.
func (s *Server) fail(c *fiber.Ctx, m *model.Model, err error) error {
	p := *asProblem(err, s.textFor(c))
	s.count(m, p.ErrorType)
	p.RequestID = s.requestID(c)
	s.logFailure(c.Path(), &p, err, spanOf(c))
	c.Locals(errorTypeLocal, string(p.ErrorType))
	refusalHeaders(c, &p, err)
	if p.RetryAfter > 0 {
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(max(1, int(p.RetryAfter.Round(time.Second)/time.Second))))
	}
	c.Status(p.Status)
	c.Response().SwapBody(appendProblem(c.Response().SwapBody(nil)[:0], &p))
	c.Response().Header.SetContentType(api.ProblemContentType)
	return nil
}

// logFailure logs the full text of a failure on this side, and at level debug what
// clients did wrong.
func (s *Server) logFailure(path string, p *api.Problem, err error, span *trace.Span) {
	level := slog.LevelDebug
	if p.ErrorType != api.ClientGone && p.Status >= fiber.StatusInternalServerError {
		level = slog.LevelWarn
	}
	if !s.cfg.Log.Enabled(context.Background(), level) {
		return
	}
	s.cfg.Log.Log(context.Background(), level, "request failed", append([]any{
		"path", path, "error_type", string(p.ErrorType), "detail", asProblem(err, whole).Detail, "request_id", p.RequestID,
	}, span.Log()...)...)
}

func (s *Server) count(m *model.Model, t api.ErrorType) {
	if t == api.ClientGone { // not a failure of the model
		m = nil
	}
	if m != nil {
		m.Stats.Failed(string(t))
		return
	}
	s.mu.Lock()
	s.failures[t]++
	s.mu.Unlock()
}

// unquoted returns what the HTTP parser says without what it quotes of the request,
// since that may be a credential.
func unquoted(message string) string {
	message, _, _ = strings.Cut(message, "\"")
	message, _, _ = strings.Cut(message, ": buffer size")
	return clip(strings.TrimRight(message, ": "))
}

// handleError answers requests that fiber refuses before a handler runs, and panics.
func (s *Server) handleError(c *fiber.Ctx, err error) error {
	s.protect(c.Context()) // what the parser refuses reaches no middleware
	var problem *api.Problem
	var status *fiber.Error
	switch {
	case errors.As(err, &problem):
	case errors.As(err, &status):
		switch status.Code {
		case fiber.StatusRequestEntityTooLarge:
			problem = api.NewProblem(api.PayloadTooLarge, "", "the body has more than %d bytes: send fewer rows a request", s.cfg.BodyLimit)
		case fiber.StatusRequestHeaderFieldsTooLarge:
			problem = api.NewProblem(api.HeadersTooLarge, "", "the headers have more than %d bytes", headerBytes)
		case fiber.StatusRequestTimeout:
			problem = s.tooSlow()
		case fiber.StatusMethodNotAllowed:
			problem = api.NewProblem(api.MethodNotAllowed, "", "%s is not allowed here", clip(c.Method()))
		case fiber.StatusNotFound:
			problem = api.NewProblem(api.NotFound, "", "there is nothing at %s", clip(c.Path()))
		case fiber.StatusUpgradeRequired:
			problem = api.NewProblem(api.ValidationError, "Upgrade", "this path speaks WebSocket: send an upgrade request")
		case fiber.StatusInternalServerError:
			problem = api.NewProblem(api.InternalError, "", "%s", status.Message)
		default:
			problem = api.NewProblem(api.ValidationError, "", "malformed HTTP request: %s", unquoted(status.Message))
		}
	default:
		s.cfg.Log.Error("request failed", append([]any{"path", c.Path(), "error", err, "request_id", s.requestID(c)}, spanOf(c).Log()...)...)
		problem = api.NewProblem(api.InternalError, "", "the host failed; its log says more")
	}
	return s.fail(c, nil, problem)
}
