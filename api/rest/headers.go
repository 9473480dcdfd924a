package rest

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/pynomaly/pynomaly-runtime/api"
)

// preflightAge is how long a browser may remember the answer to a preflight, in
// seconds.
const preflightAge = "600"

// Headers of requests and answers that pages of listed origins may send and read.
const (
	corsSent = "Authorization, Content-Encoding, Content-Type, X-API-Key, X-Request-ID, X-Routing-Key, traceparent, tracestate"
	corsRead = "X-Request-ID, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate"
)

// headerField is a header of every answer, as the server sends it.
type headerField struct{ name, value []byte }

// The headers that most requests are looked up for, in the spelling that fasthttp keeps.
const (
	apiKeyHeader     = "X-Api-Key" //nolint:gosec // the name of a header
	fetchSiteHeader  = "Sec-Fetch-Site"
	requestIDHeader  = "X-Request-Id"
	routingKeyHeader = "X-Routing-Key"
)

// peek returns the value of a request's header, whose name must be spelt as fasthttp keeps
// it. It is valid during the request.
func peek(h *fasthttp.RequestHeader, name string) []byte { return h.PeekCanonical([]byte(name)) }

// protection returns the headers that protect sets whatever was asked.
func protection() []headerField {
	return []headerField{
		{[]byte(fiber.HeaderXContentTypeOptions), []byte("nosniff")}, {[]byte(fiber.HeaderCacheControl), []byte("no-store")},
		{[]byte(fiber.HeaderContentSecurityPolicy), []byte("default-src 'none'; frame-ancestors 'none'")},
	}
}

// hsts returns the header that makes browsers use TLS only.
func hsts(age time.Duration) headerField {
	return headerField{[]byte(fiber.HeaderStrictTransportSecurity), []byte("max-age=" + strconv.Itoa(int(age.Seconds())))}
}

// protect sets the headers by which browsers and caches treat an answer as data of
// one caller. Every answer has them, refusals of the HTTP parser as well.
func (s *Server) protect(c *fasthttp.RequestCtx) {
	h := &c.Response.Header
	for i := range s.protection {
		h.SetCanonical(s.protection[i].name, s.protection[i].value)
	}
	// For localhost, a browser would refuse plain HTTP of every other server on this
	// machine. It ignores the header for addresses.
	if s.cfg.HSTS > 0 && !isLocalhost(hostName(c.Request.Header.Host())) {
		h.SetCanonical(s.hsts.name, s.hsts.value)
	}
}

// SetOrigins replaces the origins of other sites whose pages may use this host.
func (s *Server) SetOrigins(origins []string) { s.origins.Store(&origins) }

// allowsOrigin reports whether pages of an origin of another site may use this host.
func (s *Server) allowsOrigin(origin string) bool { return slices.Contains(*s.origins.Load(), origin) }

// share lets pages of listed origins read the answer. It reports whether the request
// was a preflight, which it has answered. fromPage has refused preflights of others.
func (s *Server) share(c *fiber.Ctx) (answered bool, err error) {
	if len(*s.origins.Load()) == 0 {
		return false, nil
	}
	h := &c.Response().Header
	h.Set(fiber.HeaderVary, fiber.HeaderOrigin)
	origin := string(c.Request().Header.Peek(fiber.HeaderOrigin))
	if origin == "" || !s.allowsOrigin(origin) {
		return false, nil
	}
	// Credentials of this host are headers, which a page must set itself: the answer
	// never allows the browser to add those that it keeps.
	h.Set(fiber.HeaderAccessControlAllowOrigin, origin)
	h.Set(fiber.HeaderAccessControlExposeHeaders, corsRead)
	asked := string(c.Request().Header.Peek(fiber.HeaderAccessControlRequestMethod))
	if asked == "" || c.Method() != fiber.MethodOptions {
		return false, nil
	}
	methods := s.methodsOf(c.Path())
	if len(methods) == 0 {
		return true, s.fail(c, nil, api.NewProblem(api.NotFound, "", "there is nothing at %s: /openapi.json lists the routes", clip(c.Path())))
	}
	h.Set(fiber.HeaderAccessControlAllowMethods, strings.Join(methods, ", "))
	h.Set(fiber.HeaderAccessControlAllowHeaders, corsSent)
	h.Set(fiber.HeaderAccessControlMaxAge, preflightAge)
	c.Status(fiber.StatusNoContent)
	return true, nil
}

// methodsOf returns the methods that a path has.
func (s *Server) methodsOf(path string) (methods []string) {
	as := s.app.Config()
	for _, routes := range s.app.Stack() {
		for _, r := range routes {
			if r.Path != "/" && !slices.Contains(methods, r.Method) && fiber.RoutePatternMatch(path, r.Path, as) {
				methods = append(methods, r.Method)
			}
		}
	}
	return methods
}
