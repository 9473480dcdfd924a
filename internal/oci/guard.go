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

// ErrCredentials is of credentials that were not sent, since they would have gone to a
// host that nobody has allowed, or in clear.
var ErrCredentials = errors.New("credentials are not sent there")

// guard lets credentials pass to the registry, to hosts that may issue tokens for it, and
// to nobody else; in clear only where that was asked for. It looks at what is sent, so that
// it does not matter what made the client send it: a challenge, a redirect or a location.
type guard struct {
	next  http.RoundTripper
	host  string   // of the registry, without a port
	port  string   // empty: that of its scheme
	plain bool     // it speaks HTTP, as was asked for
	auth  []string // other hosts that issue its tokens, with or without a port
}

// client is an HTTP client whose credentials are guarded.
func (g *guard) client() *http.Client {
	return &http.Client{Transport: g, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) >= maxRedirects { // auth.Client lifts net/http's own bound
			return fmt.Errorf("stopped after %d redirects", maxRedirects)
		}
		return nil
	}}
}

const maxRedirects = 10

// issuers are the hosts that issue the tokens of public registries.
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

// carriesCredentials holds for a request with a name and password, a token, or a form, such
// as one that gives a refresh token for another token.
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
	// On the registry's machine another port may be somebody else's, unless TLS tells.
	own := strings.EqualFold(u.Hostname(), g.host) && (u.Scheme == "https" || u.Port() == g.port)
	if !own && !slices.ContainsFunc(g.auth, func(host string) bool { return sameHost(host, u) }) {
		return fmt.Errorf("%w: %s asks for those of the registry %s and is another host: --registry-auth-host %s allows it", ErrCredentials, u.Host, g.host, u.Host)
	}
	if u.Scheme == "https" || isLoopback(u.Hostname()) || (own && g.plain) {
		return nil
	}
	return fmt.Errorf("%w: %s://%s is not encrypted", ErrCredentials, u.Scheme, u.Host)
}

// sameHost compares a host that was allowed, whose port is that of HTTPS unless it has
// one.
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

// ValidAuthHost checks a host that is to be allowed: a name or address, with or without a
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
