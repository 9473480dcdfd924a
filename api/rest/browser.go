package rest

import (
	"bytes"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/pynomaly/pynomaly-runtime/api"
)

// Pages of other sites can make a browser send requests to any server that the
// browser reaches, including hosts on this machine. The functions below tell such
// requests from those of clients, which send none of these headers, and from those
// of pages that may use this host.

// fromPage refuses requests that a page of another site makes a browser send:
// requests with a host name that is not this host's, by which a page circumvents the
// browser's rules, and requests that change something or open a WebSocket.
func (s *Server) fromPage(c *fiber.Ctx) error {
	h := &c.Request().Header
	if s.cfg.Loopback {
		if !s.isOwn(h.Host()) {
			return s.misdirected(h.Host())
		}
		// A target with a host (GET http://name/path) has precedence over Host.
		if target := h.RequestURI(); len(target) > 0 && target[0] != '/' && !s.isOwn(c.Context().URI().Host()) {
			return s.misdirected(c.Context().URI().Host())
		}
	}
	if (c.Context().IsGet() || c.Context().IsHead()) && len(peek(h, fiber.HeaderUpgrade)) == 0 {
		return nil
	}
	if origin := peek(h, fiber.HeaderOrigin); len(origin) > 0 {
		if s.sameOrigin(string(origin), h.Host()) {
			return nil
		}
		return api.NewProblem(api.Forbidden, "Origin", "pages of %q may not use this host: list the origin in server.origins", clip(string(origin)))
	}
	switch string(peek(h, fetchSiteHeader)) {
	case "", "same-origin", "none":
		return nil
	}
	return api.NewProblem(api.Forbidden, "Sec-Fetch-Site", "pages of other sites may not use this host")
}

func (s *Server) misdirected(host []byte) error {
	return api.NewProblem(api.Forbidden, "Host", "%q is not a name of this host: use its address or localhost, or list the name in server.hosts", clip(string(host)))
}

// isOwn reports whether a Host header is an address, localhost or a configured name.
// A page can make its own name resolve to this machine, but none of these.
func (s *Server) isOwn(host []byte) bool {
	if bytes.HasPrefix(host, []byte("127.0.0.1:")) || len(host) == 0 { // the common case; HTTP/1.0 has none
		return true
	}
	name := hostName(host)
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return isLocalhost(name) || slices.Contains(s.cfg.Hosts, name)
}

// hostName returns the name or address of a Host header, without the port.
func hostName(host []byte) string {
	name := string(host)
	if without, _, err := net.SplitHostPort(name); err == nil {
		name = without
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
}

func isLocalhost(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// sameOrigin reports whether an Origin header names this host or an allowed origin.
func (s *Server) sameOrigin(origin string, host []byte) bool {
	if s.allowsOrigin(origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, string(host))
}

// isForm reports whether an HTML form could have sent a body of this type. Browsers
// send such bodies without asking the server first.
func isForm(contentType []byte) bool {
	media, _, _ := strings.Cut(string(contentType), ";")
	switch strings.ToLower(strings.TrimSpace(media)) {
	case "application/x-www-form-urlencoded", "multipart/form-data", "text/plain":
		return true
	}
	return false
}

// isLocal reports whether a request comes from this machine under a name of this
// host, and has no header of a proxy.
func (s *Server) isLocal(c *fiber.Ctx) bool {
	for _, h := range []string{fiber.HeaderXForwardedFor, "Forwarded", "X-Real-Ip", fiber.HeaderXForwardedHost, fiber.HeaderXForwardedProto, fiber.HeaderVia} {
		if len(c.Request().Header.Peek(h)) > 0 {
			return false
		}
	}
	ip := c.Context().RemoteIP()
	return ip != nil && ip.IsLoopback() && s.isOwn(c.Request().Header.Host())
}
