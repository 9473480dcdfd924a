package oci

import (
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"oras.land/oras-go/v2/registry"
)

// ErrCredentials means that credentials were not sent because the host is not
// allowed or the connection is not encrypted.
var ErrCredentials = errors.New("credentials may not be sent there")

// guard lets credentials go only to the registry and to the hosts that may issue
// tokens for it, and unencrypted only on request. It checks every outgoing request,
// whether a challenge, a redirect or a Location header caused it.
type guard struct {
	next  http.RoundTripper
	host  string   // of the registry, without a port
	port  string   // empty: the default of the scheme
	plain bool     // HTTP is allowed
	auth  []string // other hosts that issue tokens, with or without a port
}

// client returns an HTTP client whose credentials are guarded.
func (g *guard) client() *http.Client {
	return &http.Client{Transport: g, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) >= maxRedirects { // auth.Client disables net/http's own limit
			return fmt.Errorf("stopped after %d redirects", maxRedirects)
		}
		return nil
	}}
}

const maxRedirects = 10

// issuers returns the hosts that issue the tokens of public registries.
func issuers(registry string) []string {
	return map[string][]string{"registry-1.docker.io": {"auth.docker.io"}, "registry.gitlab.com": {"gitlab.com"}}[registry]
}

func newGuard(ref registry.Reference, o Options, next http.RoundTripper) *guard {
	u := url.URL{Host: ref.Host()}
	return &guard{next: next, host: u.Hostname(), port: u.Port(), plain: o.PlainHTTP, auth: append(issuers(u.Hostname()), o.AuthHosts...)}
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if carriesCredentials(req) {
		if err := g.allows(req.URL); err != nil {
			if req.Body != nil {
				_ = req.Body.Close()
			}
			return nil, err
		}
	}
	return g.next.RoundTrip(req)
}

// carriesCredentials reports whether a request has a name and password, a token, or
// a form that may contain a refresh token.
func carriesCredentials(req *http.Request) bool {
	if req.URL.User != nil {
		return true
	}
	for name := range req.Header {
		switch http.CanonicalHeaderKey(name) {
		case "Authorization", "Proxy-Authorization", "Cookie":
			return true
		}
	}
	kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	return err == nil && kind == "application/x-www-form-urlencoded"
}

func (g *guard) allows(u *url.URL) error {
	// Another port of the registry's machine may belong to somebody else, unless TLS
	// proves it.
	own := strings.EqualFold(u.Hostname(), g.host) && (u.Scheme == "https" || u.Port() == g.port)
	if !own && !slices.ContainsFunc(g.auth, func(host string) bool { return sameHost(host, u) }) {
		return fmt.Errorf("%w: %s is not the registry %s but asks for its credentials: allow that with --registry-auth-host %s", ErrCredentials, u.Host, g.host, u.Host)
	}
	if u.Scheme == "https" || isLoopback(u.Hostname()) || (own && g.plain) {
		return nil
	}
	return fmt.Errorf("%w: %s://%s is not encrypted", ErrCredentials, u.Scheme, u.Host)
}

// sameHost reports whether u's host is an allowed one. Without a port, allowed means
// the port of HTTPS.
func sameHost(allowed string, u *url.URL) bool {
	a := url.URL{Host: allowed}
	port := func(u *url.URL) string {
		if p := u.Port(); p != "" {
			return p
		}
		return "443"
	}
	return strings.EqualFold(a.Hostname(), u.Hostname()) && port(&a) == port(u)
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// ValidAuthHost returns an error unless text is a name or address, with or without a
// port.
func ValidAuthHost(text string) error {
	host, port := text, ""
	if h, p, err := net.SplitHostPort(text); err == nil {
		host, port = h, p
	}
	u, err := url.Parse("https://" + text)
	if err != nil || host == "" || u.Host != text || u.Path != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (port == "" && strings.HasSuffix(text, ":")) {
		return fmt.Errorf("%q is not <host>[:<port>]", text)
	}
	return nil
}
