package tokens

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/pynomaly/pynomaly-runtime/api/access"
)

// provider is an issuer of tokens with a real HTTPS server.
type provider struct {
	URL, CA string
	fetches atomic.Int64
	mu      sync.Mutex
	keys    map[string]crypto.Signer
	answer  http.HandlerFunc // answers in place of the keys; nil: the keys
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{keys: map[string]crypto.Signer{}}
	server := httptest.NewTLSServer(http.HandlerFunc(p.serve))
	t.Cleanup(server.Close)
	p.URL = server.URL + "/keys"
	p.CA = filepath.Join(t.TempDir(), "ca.pem")
	write(t, p.CA, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	return p
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	p.fetches.Add(1)
	p.mu.Lock()
	answer, set := p.answer, p.set()
	p.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	_, _ = w.Write(set)
}

// set returns the JWK Set. The lock must be held.
func (p *provider) set() []byte {
	var out jwkset.JWKSMarshal
	for kid, key := range p.keys {
		jwk, err := jwkset.NewJWKFromKey(key.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid, USE: jwkset.UseSig}})
		if err != nil {
			panic(err)
		}
		out.Keys = append(out.Keys, jwk.Marshal())
	}
	text, err := json.Marshal(out)
	if err != nil {
		panic(err)
	}
	return text
}

// publish changes the served keys.
func (p *provider) publish(change func(keys map[string]crypto.Signer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p.keys)
}

// answers replaces the server's handler; nil restores it.
func (p *provider) answers(with http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = with
}

func ec(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ed(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issuer returns the configuration of a host for the provider.
func (p *provider) issuer(algorithms ...string) Issuer {
	return Issuer{
		Issuer: "https://id.example.com", Audience: "pynomaly", JWKS: p.URL, CA: p.CA, Algorithms: algorithms, Leeway: 30 * time.Second,
		Claims: Claims{Subject: "sub", Roles: "realm_access.roles"}, Roles: map[string]string{"boss": "admin", "looks": "viewer"},
	}
}

// good returns claims that are accepted.
func good() jwt.MapClaims {
	return jwt.MapClaims{
		"iss": "https://id.example.com", "aud": "pynomaly", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix(),
		"realm_access": map[string]any{"roles": []string{"looks", "other"}},
	}
}

// with returns good claims with one changed, or removed if value is nil.
func with(name string, value any) jwt.MapClaims {
	c := good()
	if c[name] = value; value == nil {
		delete(c, name)
	}
	return c
}

// sign returns a token. header overrides members of its header.
func sign(t testing.TB, method jwt.SigningMethod, key any, kid string, claims jwt.Claims, header ...any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	if kid != "" {
		token.Header["kid"] = kid
	}
	for i := 0; i < len(header); i += 2 {
		token.Header[header[i].(string)] = header[i+1]
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func builtin(t testing.TB) *access.Roles {
	t.Helper()
	r, err := access.NewRoles(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// start returns a Verifier that runs until the test ends.
func start(t testing.TB, c Config, issuers ...Issuer) *Verifier {
	t.Helper()
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	v, err := New(c, issuers, builtin(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { v.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return v
}
