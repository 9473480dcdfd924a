package access

import (
	"bytes"
	"context"
	"crypto/x509"
	"net/netip"
	"time"
)

// Mode says which callers need credentials.
type Mode int

// The modes.
const (
	// Open requires none: nothing is configured, and only this machine reaches the
	// host.
	Open Mode = iota
	// Off requires none from anybody, because the operator has set so.
	Off
	// RunKey requires the key of this run from everybody except local callers.
	RunKey
	// Configured requires the configured credentials from everybody.
	Configured
)

// Keys recognises API keys.
type Keys interface {
	Lookup(key []byte, now time.Time) (*Principal, error)
}

// Tokens verifies tokens.
type Tokens interface {
	Verify(ctx context.Context, token []byte) (*Principal, error)
}

// maxCredentials is how many credentials a request may carry.
const maxCredentials = 4

// Credentials are what a request shows. The zero value shows nothing. They share the
// memory of the request.
type Credentials struct {
	// Certificate is the client's verified certificate; nil: none.
	Certificate *x509.Certificate
	// Local means that the peer is this machine, and that no header says that it
	// forwards for another caller.
	Local bool

	shown [maxCredentials]credential
	n     int
	bad   bool // a value cannot be a credential
}

type credential struct {
	text []byte
	key  bool // it can only be a key
}

// Key adds an X-API-Key.
func (c *Credentials) Key(value []byte) { c.add(bytes.TrimSpace(value), true) }

// Authorization adds the value of an Authorization header: Bearer and a key or a
// token.
func (c *Credentials) Authorization(value []byte) {
	const scheme = "bearer "
	value = bytes.TrimSpace(value)
	if len(value) <= len(scheme) || !bytes.EqualFold(value[:len(scheme)], []byte(scheme)) {
		c.bad = true
		return
	}
	c.add(bytes.TrimSpace(value[len(scheme):]), false)
}

// Subprotocols adds the value of a Sec-WebSocket-Protocol header. If the list begins
// with bearer, its second item is a key or a token: browsers send it so, since they
// cannot set other headers. Subprotocols reports whether there was one. Then the
// answer must choose bearer.
func (c *Credentials) Subprotocols(value []byte) bool {
	first, rest, found := bytes.Cut(value, []byte(","))
	if !bytes.Equal(bytes.TrimSpace(first), []byte("bearer")) {
		return false
	}
	if !found {
		c.bad = true
		return true
	}
	second, _, _ := bytes.Cut(rest, []byte(","))
	c.add(bytes.TrimSpace(second), false)
	return true
}

func (c *Credentials) add(text []byte, key bool) {
	if c.n == maxCredentials {
		c.bad = true
		return
	}
	c.shown[c.n] = credential{text, key}
	c.n++
}

// Clone returns credentials that share no memory with the request.
func (c *Credentials) Clone() *Credentials {
	out := *c
	for i := range out.n {
		out.shown[i].text = bytes.Clone(out.shown[i].text)
	}
	return &out
}

// Any reports whether a key or a token was shown, valid or not.
func (c *Credentials) Any() bool { return c.n > 0 || c.bad }

// Config configures an Authenticator.
type Config struct {
	Mode         Mode
	Keys         Keys          // nil: none
	Tokens       Tokens        // nil: none
	Certificates *Certificates // nil: no certificate has a role
	Anonymous    *Principal    // of callers without credentials; nil: they are refused
	Now          func() time.Time
}

// Nobody returns the principal of callers without credentials who have a role.
func Nobody(role string, roles *Roles) (*Principal, error) {
	actions, err := roles.Actions(role)
	if err != nil {
		return nil, err
	}
	return &Principal{Kind: Anonymous, ID: "anonymous", Name: "anybody", Roles: []string{role}, Actions: actions, Models: AllModels()}, nil
}

// Authenticator identifies callers.
type Authenticator struct {
	Config
	// These principals are made once, so that an unauthenticated request allocates
	// nothing.
	anybody, local, visitor *Principal
}

// NewAuthenticator returns an Authenticator.
func NewAuthenticator(c Config) *Authenticator {
	everything := Set(AllActions()...)
	return &Authenticator{
		Config:  c,
		anybody: &Principal{Kind: Anonymous, ID: "anonymous", Name: "anybody", Roles: []string{RoleAdmin}, Actions: everything, Models: AllModels()},
		local:   &Principal{Kind: Local, ID: "local", Name: "this machine", Roles: []string{RoleAdmin}, Actions: everything, Models: AllModels()},
		visitor: &Principal{Kind: Anonymous, ID: "anonymous", Name: "anybody", Actions: Set(Metrics), Models: AllModels()},
	}
}

// Visitor returns the principal of callers without credentials on public paths.
func (a *Authenticator) Visitor() *Principal { return a.visitor }

// Refusals of credentials that are not checked any further.
var (
	errScheme    = &Error{ErrUnauthenticated, "bad_credential", "the credential has a form that this host does not accept: send an API key as X-API-Key, or a key or a token as Authorization: Bearer"}
	errNoKeys    = &Error{ErrUnauthenticated, "unknown_key", "this host does not know the API key"}
	errNoTokens  = &Error{ErrUnauthenticated, "no_tokens", "this host accepts no tokens: send an API key"}
	errTwoPeople = &Error{ErrUnauthenticated, "two_credentials", "the request shows credentials of different people: send one"}
)

// Authenticate returns the caller. The error is an *Error of ErrUnauthenticated. A
// wrong credential is an error even beside a correct one, and so are correct
// credentials of different people. If the mode requires no credentials, Authenticate
// does not check them.
func (a *Authenticator) Authenticate(ctx context.Context, c *Credentials) (*Principal, error) {
	if a.Mode == Open || a.Mode == Off {
		return a.anybody, nil
	}
	if c.bad {
		return nil, errScheme
	}
	var p *Principal
	for i := range c.n {
		one, err := a.lookup(ctx, c.shown[i])
		if err != nil {
			return nil, err
		}
		if p != nil && !p.Same(one) {
			return nil, errTwoPeople
		}
		p = one
	}
	if c.Certificate != nil && a.Certificates != nil {
		if one := a.Certificates.Lookup(c.Certificate); one != nil {
			if p != nil && !p.Same(one) {
				return nil, errTwoPeople
			}
			p = one
		}
	}
	switch {
	case p != nil:
		return p, nil
	case a.Mode == RunKey && c.Local:
		return a.local, nil
	case a.Anonymous != nil:
		return a.Anonymous, nil
	}
	return nil, errNobody
}

// keyPrefix tells keys from tokens.
const keyPrefix = "pyn_"

func (a *Authenticator) lookup(ctx context.Context, c credential) (*Principal, error) {
	if c.key || bytes.HasPrefix(c.text, []byte(keyPrefix)) {
		if a.Keys == nil {
			return nil, errNoKeys
		}
		return a.Keys.Lookup(c.text, a.Now()) //nolint:wrapcheck // it is an *Error
	}
	if a.Tokens == nil {
		return nil, errNoTokens
	}
	return a.Tokens.Verify(ctx, c.text) //nolint:wrapcheck // it is an *Error
}

// IsLocal reports whether a peer is this machine: its address is a loopback address,
// and the request has none of the headers by which proxies say for whom they ask.
func IsLocal(peer netip.Addr, forwarded bool) bool { return !forwarded && peer.Unmap().IsLoopback() }
