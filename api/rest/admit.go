package rest

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/access/gate"
	"github.com/pynomaly/pynomaly-runtime/api/access/limits"
	"github.com/pynomaly/pynomaly-runtime/api/audit"
	"github.com/pynomaly/pynomaly-runtime/internal/until"
)

// Keys of a request's local values.
const (
	principalLocal = "principal" // *access.Principal
	errorTypeLocal = "error_type"
)

// principalOf returns the principal of a request, or nil if it has not been let in.
func principalOf(c *fiber.Ctx) *access.Principal {
	p, _ := c.Locals(principalLocal).(*access.Principal)
	return p
}

// behind returns a handler that admits a request before it calls the route's
// handler.
func (s *Server) behind(r *route) fiber.Handler {
	return func(c *fiber.Ctx) error { return s.traced(c, r) }
}

// admitted answers a request if it is let in.
func (s *Server) admitted(c *fiber.Ctx, r *route) error {
	if err := s.admit(c, r); err != nil {
		return s.fail(c, nil, err)
	}
	if r.audited() {
		return s.audited(c, r)
	}
	return r.handler(c)
}

// admit lets a request in, or returns why not.
func (s *Server) admit(c *fiber.Ctx, r *route) error {
	if r.changes() && isForm(c.Request().Header.ContentType()) {
		return api.NewProblem(api.UnsupportedMediaType, "Content-Type", "is a content type of HTML forms: send application/json, or no body")
	}
	g := s.cfg.Gate
	var shown access.Credentials
	s.credentials(c, &shown)
	p, err := g.Enter(s.base, &shown, r.Path)
	if err != nil {
		return g.Refuse(err, shown.Any(), r.action, s.caller(c))
	}
	c.Locals(principalLocal, p)
	if r.action == 0 || g.Public(r.Path) {
		return nil
	}
	model := ""
	if r.Model == ModelInPath {
		model = c.Params("id")
	}
	if err := s.decide(p, r.action, model); err != nil {
		return g.Deny(err, p, r.action, strings.Clone(model), s.caller(c))
	}
	return s.counted(c, r, p)
}

// decide returns why a principal may not do an action to a model. A hidden model
// gets the error of a model that does not exist.
func (s *Server) decide(p *access.Principal, action access.Action, model string) error {
	err := access.Decide(p, action, model)
	if err != nil && model != "" && !p.Sees(model) && validName([]byte(model), false) {
		if _, hidden := s.registry.For(p).Peek(strings.Clone(model), ""); hidden != nil {
			return hidden //nolint:wrapcheck // it becomes a problem
		}
	}
	return err //nolint:wrapcheck // it becomes a problem
}

// counted returns an error if a request exceeds its rate.
func (s *Server) counted(c *fiber.Ctx, r *route, p *access.Principal) error {
	if !r.limited || !s.cfg.Gate.Counts(r.class) {
		return nil
	}
	var from netip.Addr
	if !p.Shown() {
		from = s.address(c)
	}
	return s.cfg.Gate.Count(r.class, p, from) //nolint:wrapcheck // it becomes a problem
}

// classOf returns the class by which requests of a route are limited.
func classOf(r *Route, action access.Action) (class limits.Class, limited bool) {
	switch action {
	case access.Predict:
		if strings.HasSuffix(r.Path, "/batch") {
			return limits.BatchPredict, true
		}
		return limits.Predict, len(r.Messages) == 0 // messages are counted one by one
	case access.LoadModel, access.Learn, access.Aliases:
		return limits.ModelManagement, true
	}
	return 0, false
}

// credentials reads the credentials of a request.
func (s *Server) credentials(c *fiber.Ctx, shown *access.Credentials) {
	h := &c.Request().Header
	if len(peek(h, apiKeyHeader)) > 0 {
		for _, v := range h.PeekAll(apiKeyHeader) {
			shown.Key(v)
		}
	}
	if len(peek(h, fiber.HeaderAuthorization)) > 0 {
		for _, v := range h.PeekAll(fiber.HeaderAuthorization) {
			shown.Authorization(v)
		}
	}
	if len(peek(h, fiber.HeaderUpgrade)) > 0 {
		for _, v := range h.PeekAll("Sec-Websocket-Protocol") {
			if shown.Subprotocols(v) {
				break
			}
		}
	}
	if state := c.Context().TLSConnectionState(); state != nil {
		certificate(state, shown)
	}
	if !shown.Any() && s.cfg.Gate.AsksLocal() {
		shown.Local = s.isLocal(c)
	}
}

// certificate reads a verified client certificate.
func certificate(state *tls.ConnectionState, shown *access.Credentials) {
	if len(state.VerifiedChains) > 0 {
		shown.Certificate = state.PeerCertificates[0]
	}
}

// caller returns what logs and the audit record of a caller.
func (s *Server) caller(c *fiber.Ctx) gate.Caller {
	return gate.Caller{Address: s.address(c), RequestID: s.requestID(c), TraceID: spanOf(c).TraceID()}
}

// address returns the address that a request came from.
func (s *Server) address(c *fiber.Ctx) netip.Addr {
	tcp, ok := c.Context().RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	peer := tcp.AddrPort().Addr().Unmap()
	if !s.cfg.Gate.Proxied(peer) {
		return peer
	}
	var forwarded []string
	for _, v := range c.Request().Header.PeekAll(fiber.HeaderXForwardedFor) {
		forwarded = append(forwarded, string(v))
	}
	return s.cfg.Gate.Client(peer, forwarded...)
}

// viewer returns the principal whose view of the models counts, or nil if it sees
// all models.
func viewer(p *access.Principal) until.Principal {
	if p == nil || p.Models.All() {
		return nil
	}
	return p
}

// accessProblem returns the problem of a refusal, or nil if the error is not a
// refusal.
func accessProblem(err error) *api.Problem {
	var refusal *access.Error
	var limited *limits.Refusal
	switch {
	case errors.As(err, &limited):
		p := api.NewProblem(api.RateLimited, "", "there were too many %s requests: at most %d in %v are answered; wait for as long as Retry-After says", limited.Class, limited.Rate.Count, limited.Rate.Per)
		p.RetryAfter = time.Duration(limited.RetryAfter()) * time.Second
		return p
	case errors.Is(err, audit.ErrNotWritten):
		return retry(api.NewProblem(api.Overloaded, "", "what changes the host must be audited, and the audit cannot be written now"))
	case !errors.As(err, &refusal):
		return nil
	case errors.Is(err, access.ErrUnauthenticated):
		return api.NewProblem(api.Unauthorized, "", "%s", refusal.Public)
	case errors.Is(err, access.ErrHidden):
		return api.NewProblem(api.ModelNotFound, "model_id", "%s", refusal.Public)
	}
	return api.NewProblem(api.Forbidden, "", "%s", refusal.Public)
}

// refusalHeaders sets the headers that tell a client what to do about a refusal.
func refusalHeaders(c *fiber.Ctx, p *api.Problem, err error) {
	if p.ErrorType == api.Unauthorized {
		c.Set(fiber.HeaderWWWAuthenticate, `Bearer realm="pynomaly-runtime"`)
	}
	var limited *limits.Refusal
	if errors.As(err, &limited) {
		c.Set("RateLimit", limited.Field())
		c.Set("RateLimit-Policy", limited.Policy())
	}
}
