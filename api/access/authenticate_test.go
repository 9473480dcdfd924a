package access_test

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pynomaly/pynomaly-runtime/api/access"
)

// people has principals by the text of their keys and tokens.
type people map[string]*access.Principal

var errWrong = &access.Error{Is: access.ErrUnauthenticated, Reason: "wrong", Public: "it is wrong"}

func (p people) Lookup(key []byte, _ time.Time) (*access.Principal, error) {
	if one := p[string(key)]; one != nil {
		return one, nil
	}
	return nil, errWrong
}

func (p people) Verify(_ context.Context, token []byte) (*access.Principal, error) {
	return p.Lookup(token, time.Time{})
}

func certificate(cn string) *x509.Certificate {
	u, _ := url.Parse("spiffe://example.com/" + cn)
	return &x509.Certificate{Subject: pkix.Name{CommonName: cn, Organization: []string{"O"}}, DNSNames: []string{cn + ".example.com"}, URIs: []*url.URL{u}, EmailAddresses: []string{cn + "@example.com"}}
}

func authenticator(t *testing.T, mode access.Mode) *access.Authenticator {
	t.Helper()
	roles, err := access.NewRoles(nil)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := access.NewCertificates([]access.CertificateRule{{Match: "CN=scraper", Role: "viewer"}}, roles)
	if err != nil {
		t.Fatal(err)
	}
	alice, bob := &access.Principal{Kind: access.Key, ID: "alice"}, &access.Principal{Kind: access.Key, ID: "bob"}
	return access.NewAuthenticator(access.Config{
		Mode: mode, Keys: people{"pyn_alice": alice, "pyn_bob": bob}, Tokens: people{"a.l.ice": {Kind: access.Token, ID: "alice"}}, Certificates: certs, Now: time.Now,
	})
}

// TestAuthenticate tries credentials in every mode.
func TestAuthenticate(t *testing.T) {
	type show func(*access.Credentials)
	key := func(v string) show { return func(c *access.Credentials) { c.Key([]byte(v)) } }
	bearer := func(v string) show { return func(c *access.Credentials) { c.Authorization([]byte(v)) } }
	socket := func(v string) show { return func(c *access.Credentials) { c.Subprotocols([]byte(v)) } }
	cert := func(cn string) show { return func(c *access.Credentials) { c.Certificate = certificate(cn) } }
	local := func(c *access.Credentials) { c.Local = true }
	for _, c := range []struct {
		what   string
		show   []show
		id     string // configured
		reason string
	}{
		{"nothing", nil, "", "no_credential"},
		{"nothing, from this machine", []show{local}, "", "no_credential"},
		{"a key", []show{key("pyn_alice")}, "alice", ""},
		{"a key with spaces around", []show{key(" pyn_alice ")}, "alice", ""},
		{"a key as a bearer", []show{bearer("Bearer pyn_alice")}, "alice", ""},
		{"in lower case", []show{bearer("bearer  pyn_alice")}, "alice", ""},
		{"a token", []show{bearer("Bearer a.l.ice")}, "alice", ""},
		{"a token of a browser", []show{socket("bearer, a.l.ice")}, "alice", ""},
		{"a key of a browser", []show{socket("bearer,pyn_bob,chat")}, "bob", ""},
		{"another subprotocol", []show{socket("chat, bearer")}, "", "no_credential"},
		{"bearer alone", []show{socket("bearer")}, "", "bad_credential"},
		{"bearer and nothing", []show{socket("bearer,")}, "", "wrong"},
		{"a certificate", []show{cert("scraper")}, "CN=scraper,O=O", ""},
		{"a certificate without a role", []show{cert("other")}, "", "no_credential"},
		{"a certificate without a role, and a key", []show{cert("other"), key("pyn_bob")}, "bob", ""},
		{"the same key twice", []show{key("pyn_alice"), bearer("Bearer pyn_alice")}, "alice", ""},
		{"a wrong key", []show{key("pyn_eve")}, "", "wrong"},
		{"an empty key", []show{key("")}, "", "wrong"},
		{"a token as a key", []show{key("a.l.ice")}, "", "wrong"},
		{"a wrong key beside a good one", []show{key("pyn_alice"), bearer("Bearer pyn_eve")}, "", "wrong"},
		{"a wrong key beside a certificate", []show{cert("scraper"), key("pyn_eve")}, "", "wrong"},
		{"a wrong key from this machine", []show{local, key("pyn_eve")}, "", "wrong"},
		{"Basic", []show{bearer("Basic YWxpY2U6eA==")}, "", "bad_credential"},
		{"Basic beside a good key", []show{key("pyn_alice"), bearer("Basic YWxpY2U6eA==")}, "", "bad_credential"},
		{"no scheme", []show{bearer("pyn_alice")}, "", "bad_credential"},
		{"an empty header", []show{bearer("")}, "", "bad_credential"},
		{"two keys", []show{key("pyn_alice"), key("pyn_bob")}, "", "two_credentials"},
		{"a key and a token of the same name", []show{key("pyn_alice"), bearer("Bearer a.l.ice")}, "", "two_credentials"},
		{"a key and a certificate", []show{cert("scraper"), key("pyn_alice")}, "", "two_credentials"},
		{"too many", []show{key("pyn_alice"), key("pyn_alice"), key("pyn_alice"), key("pyn_alice"), key("pyn_alice")}, "", "bad_credential"},
	} {
		for _, mode := range []access.Mode{access.Open, access.Off, access.RunKey, access.Configured} {
			var shown access.Credentials
			for _, f := range c.show {
				f(&shown)
			}
			id, reason := c.id, c.reason
			switch {
			case mode == access.Open || mode == access.Off:
				id, reason = "anonymous", ""
			case mode == access.RunKey && reason == "no_credential" && shown.Local:
				id, reason = "local", ""
			}
			p, err := authenticator(t, mode).Authenticate(t.Context(), &shown)
			var refusal *access.Error
			if reason == "" && (err != nil || p.ID != id) || reason != "" && (p != nil || !errors.As(err, &refusal) || refusal.Reason != reason || !errors.Is(err, access.ErrUnauthenticated)) {
				t.Errorf("%s, mode %d: %+v, %v; want %q, %q", c.what, mode, p, err, id, reason)
			}
		}
	}
	none := access.NewAuthenticator(access.Config{Mode: access.Configured, Now: time.Now})
	for _, shown := range []string{"Bearer pyn_alice", "Bearer a.b.c"} {
		var c access.Credentials
		c.Authorization([]byte(shown))
		if _, err := none.Authenticate(t.Context(), &c); !errors.Is(err, access.ErrUnauthenticated) {
			t.Errorf("%s where nothing is configured: %v", shown, err)
		}
	}
	for mode, may := range map[access.Mode]bool{access.Open: true, access.Off: true, access.RunKey: true} {
		p, err := authenticator(t, mode).Authenticate(t.Context(), &access.Credentials{Local: true})
		if err != nil || access.Decide(p, access.Admin, "any") == nil != may {
			t.Errorf("mode %d: %+v, %v", mode, p, err)
		}
	}
	visitor := none.Visitor()
	if access.Decide(visitor, access.Metrics, "") != nil || access.Decide(visitor, access.Read, "") == nil || access.Decide(visitor, access.Predict, "m") == nil {
		t.Errorf("a visitor may do %v", visitor.Actions)
	}
}

func TestCertificates(t *testing.T) {
	roles, err := access.NewRoles(nil)
	if err != nil {
		t.Fatal(err)
	}
	for match, want := range map[string]bool{
		"CN=scraper": true, "DNS:scraper.example.com": true, "DNS:SCRAPER.example.com": true, "URI:spiffe://example.com/scraper": true, "email:scraper@example.com": true,
		"CN=scrape": false, "CN=Scraper": false, "CN=scraper,O=O": false, "DNS:scraper": false, "DNS:example.com": false, "URI:spiffe://example.com": false, "email:@example.com": false,
	} {
		c, err := access.NewCertificates([]access.CertificateRule{{Match: match, Role: "viewer"}}, roles)
		if err != nil {
			t.Fatal(err)
		}
		if p := c.Lookup(certificate("scraper")); (p != nil) != want || p != nil && (p.ID != "CN=scraper,O=O" || p.Name != "scraper" || !p.Actions.Has(access.Predict)) {
			t.Errorf("%s: %+v", match, p)
		}
	}
	for _, bad := range []access.CertificateRule{{"scraper", "viewer"}, {"CN=", "viewer"}, {"O=O", "viewer"}, {"CN:scraper", "viewer"}, {"CN=scraper", "owner"}, {"", "viewer"}} {
		if _, err := access.NewCertificates([]access.CertificateRule{bad}, roles); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	two, err := access.NewCertificates([]access.CertificateRule{{"CN=scraper", "viewer"}, {"DNS:scraper.example.com", "operator"}, {"CN=other", "admin"}}, roles)
	if err != nil {
		t.Fatal(err)
	}
	if p := two.Lookup(certificate("scraper")); strings.Join(p.Roles, " ") != "viewer operator" || !p.Actions.Has(access.Learn) || p.Actions.Has(access.Admin) {
		t.Errorf("%+v", p)
	}
	if p := two.Lookup(&x509.Certificate{DNSNames: []string{"scraper.example.com"}}); p.ID != "DNS:scraper.example.com" || p.Name != "scraper.example.com" {
		t.Errorf("%+v", p)
	}
	if p := two.Lookup(&x509.Certificate{}); p != nil {
		t.Errorf("%+v", p)
	}
}

// TestClient checks that X-Forwarded-For is trusted only as far as trusted proxies
// wrote it.
func TestClient(t *testing.T) {
	proxies := access.Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("127.0.0.1/32")}
	for _, c := range []struct {
		peer   string
		header []string
		want   string
	}{
		{"192.0.2.1", nil, "192.0.2.1"},
		{"192.0.2.1", []string{"198.51.100.1"}, "192.0.2.1"}, // an untrusted peer may write anything
		{"10.0.0.1", nil, "10.0.0.1"},
		{"10.0.0.1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"::ffff:10.0.0.1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"10.0.0.1", []string{"1.1.1.1, 198.51.100.1"}, "198.51.100.1"}, // the client's own 1.1.1.1 is ignored
		{"10.0.0.1", []string{"1.1.1.1", "198.51.100.1,10.0.0.9"}, "198.51.100.1"},
		{"10.0.0.1", []string{"198.51.100.1, 10.0.0.2 ,fd00::1"}, "198.51.100.1"},
		{"10.0.0.1", []string{"10.0.0.2, 10.0.0.3"}, "10.0.0.2"},
		{"10.0.0.1", []string{"198.51.100.1:4711"}, "198.51.100.1"},
		{"10.0.0.1", []string{"[2001:db8::1]:4711"}, "2001:db8::1"},
		{"10.0.0.1", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"fd00::1", []string{"2001:db8::1"}, "2001:db8::1"},
		{"10.0.0.1", []string{"unknown"}, "10.0.0.1"},
		{"10.0.0.1", []string{"198.51.100.1, _hidden"}, "10.0.0.1"},
		{"10.0.0.1", []string{""}, "10.0.0.1"},
		{"10.0.0.1", []string{"198.51.100.1", ""}, "10.0.0.1"},
		{"10.0.0.1", []string{"198.51.100.1" + strings.Repeat(",10.0.0.1", 40)}, "10.0.0.1"},
		{"127.0.0.1", []string{"fe80::1%eth0"}, "fe80::1"},
	} {
		if got := proxies.Client(netip.MustParseAddr(c.peer), c.header...); got != netip.MustParseAddr(c.want) {
			t.Errorf("%s, %q: %v, want %s", c.peer, c.header, got, c.want)
		}
	}
	for in, want := range map[string]string{"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "::ffff:192.0.2.1": "192.0.2.1"} {
		if got := access.Network(netip.MustParseAddr(in)); got != netip.MustParseAddr(want) {
			t.Errorf("%s is counted as %v", in, got)
		}
	}
	for peer, want := range map[string]bool{"127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true, "10.0.0.1": false, "::": false} {
		if got := access.IsLocal(netip.MustParseAddr(peer), false); got != want || access.IsLocal(netip.MustParseAddr(peer), true) {
			t.Errorf("%s: %v", peer, got)
		}
	}
}

// TestClientHolds checks that what a client writes never changes its address.
func TestClientHolds(t *testing.T) {
	proxies := access.Proxies{netip.MustParsePrefix("10.0.0.0/8")}
	rapid.Check(t, func(t *rapid.T) {
		own := rapid.OneOf(rapid.StringMatching(`[0-9a-f.:, \[\]]{0,40}`), rapid.Just("1.2.3.4, 5.6.7.8"), rapid.Just("10.0.0.7")).Draw(t, "own")
		headers := []string{own, "198.51.100.1"}
		if rapid.Bool().Draw(t, "one header") {
			headers = []string{own + ",198.51.100.1"}
		}
		if got := proxies.Client(netip.MustParseAddr("10.0.0.1"), headers...); got != netip.MustParseAddr("198.51.100.1") {
			t.Fatalf("%q: %v", headers, got)
		}
	})
}

func FuzzCredentials(f *testing.F) {
	f.Add([]byte("Bearer x"), []byte("bearer, y"), []byte("10.0.0.1, ::1"))
	f.Add([]byte("bearer  "), []byte(","), []byte("[::1]:1,,"))
	proxies := access.Proxies{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	a := access.NewAuthenticator(access.Config{Mode: access.Configured, Keys: people{}, Tokens: people{}, Now: time.Now})
	f.Fuzz(func(t *testing.T, authorization, protocols, forwarded []byte) {
		var c access.Credentials
		c.Authorization(authorization)
		c.Subprotocols(protocols)
		if p, err := a.Authenticate(t.Context(), &c); p != nil || !errors.Is(err, access.ErrUnauthenticated) {
			t.Errorf("%q, %q: %+v, %v", authorization, protocols, p, err)
		}
		if got := proxies.Client(netip.MustParseAddr("10.0.0.1"), string(forwarded)); !got.IsValid() || got.Zone() != "" {
			t.Errorf("%q: %v", forwarded, got)
		}
	})
}

func TestAuthenticateAllocatesNothing(t *testing.T) {
	a := authenticator(t, access.Configured)
	key := []byte("pyn_alice")
	var c access.Credentials
	if n := testing.AllocsPerRun(100, func() {
		c = access.Credentials{}
		c.Key(key)
		_, _ = a.Authenticate(context.Background(), &c)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
