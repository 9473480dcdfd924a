package tokens

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"crypto/ecdsa"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pynomaly/pynomaly-runtime/api/access"
)

// refused fails the test unless a token is refused for the reason, or accepted if
// reason is empty.
func refused(t testing.TB, v *Verifier, what, token, reason string) *access.Principal {
	t.Helper()
	p, err := v.Verify(t.Context(), []byte(token))
	var refusal *access.Error
	switch {
	case reason == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case reason != "" && (!errors.As(err, &refusal) || refusal.Reason != reason || !errors.Is(err, access.ErrUnauthenticated) || p != nil):
		t.Errorf("%s: %v, %v; want %s", what, p, err, reason)
	}
	return p
}

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// TestForgedTokens checks that every wrong token is refused, and that the reason
// reveals no more than it may.
func TestForgedTokens(t *testing.T) {
	p := newProvider(t)
	mine, theirs, rs, edKey := ec(t), ec(t), rsaKey(t, 2048), ed(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p.publish(func(keys map[string]crypto.Signer) {
		keys["a"], keys["rsa"], keys["ed"], keys["p384"] = mine, rs, edKey, p384
	})
	v := start(t, Config{}, p.issuer("ES256", "RS256", "EdDSA"))
	public, err := x509.MarshalPKIXPublicKey(rs.Public())
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	es, now := jwt.SigningMethodES256, time.Now()
	valid := sign(t, es, mine, "a", good())
	parts := strings.Split(valid, ".")
	changed := parts[0] + "." + b64(`{"iss":"https://id.example.com","aud":"pynomaly","sub":"alice","exp":9999999999,"realm_access":{"roles":["boss"]}}`) + "." + parts[2]
	for _, c := range []struct{ what, token, reason string }{
		{"a good one", valid, ""},
		{"one by RSA", sign(t, jwt.SigningMethodRS256, rs, "rsa", good()), ""},
		{"one by Ed25519", sign(t, jwt.SigningMethodEdDSA, edKey, "ed", good()), ""},
		{"several audiences", sign(t, es, mine, "a", with("aud", []string{"x", "pynomaly"})), ""},
		{"expired within the leeway", sign(t, es, mine, "a", with("exp", now.Add(-10*time.Second).Unix())), ""},

		{"none", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "a", good()), "token_signature"},
		{"None", b64(`{"alg":"None","kid":"a"}`) + "." + parts[1] + ".", "token_algorithm"},
		{"no algorithm", b64(`{"kid":"a"}`) + "." + parts[1] + "." + parts[2], "token_algorithm"},
		{"an HMAC of the public key", sign(t, jwt.SigningMethodHS256, asPEM, "rsa", good()), "token_signature"},
		{"an HMAC of the public key's bytes", sign(t, jwt.SigningMethodHS256, public, "rsa", good()), "token_signature"},
		{"an algorithm that is not configured", sign(t, jwt.SigningMethodPS256, rs, "rsa", good()), "token_signature"},
		{"a curve that is not configured", sign(t, jwt.SigningMethodES384, p384, "p384", good()), "token_signature"},
		{"another key's algorithm", sign(t, jwt.SigningMethodRS256, rs, "a", good()), "unknown_token_key"},
		{"a changed payload", changed, "token_signature"},
		{"no signature", parts[0] + "." + parts[1] + ".", "token_signature"},
		{"another's signature", sign(t, es, theirs, "a", good()), "token_signature"},
		{"a key of the token's own", sign(t, es, theirs, "", good(), "jwk", map[string]string{"kty": "EC"}), "token_signature"},
		{"keys at the token's own address", sign(t, es, theirs, "b", good(), "jku", p.URL, "x5u", p.URL), "unknown_token_key"},
		{"kid: a path", sign(t, es, theirs, "../../../../dev/null", good()), "unknown_token_key"},
		{"kid: SQL", sign(t, es, theirs, "x' UNION SELECT 'y", good()), "unknown_token_key"},
		{"kid: a number", sign(t, es, mine, "", good(), "kid", 7), "malformed_token"},
		{"kid: empty", sign(t, es, mine, "", good(), "kid", ""), "malformed_token"},
		{"what must be understood", sign(t, es, mine, "a", good(), "crit", []string{"b64"}, "b64", false), "malformed_token"},

		{"expired", sign(t, es, mine, "a", with("exp", now.Add(-time.Minute).Unix())), "expired_token"},
		{"without end", sign(t, es, mine, "a", with("exp", nil)), "token_without_expiry"},
		{"an end that is no time", sign(t, es, mine, "a", with("exp", "tomorrow")), "malformed_token"},
		{"not good yet", sign(t, es, mine, "a", with("nbf", now.Add(time.Minute).Unix())), "early_token"},
		{"another issuer", sign(t, es, mine, "a", with("iss", "https://evil.example.com")), "token_issuer"},
		{"no issuer", sign(t, es, mine, "a", with("iss", nil)), "token_issuer"},
		{"another audience", sign(t, es, mine, "a", with("aud", "other")), "token_issuer"},
		{"no audience", sign(t, es, mine, "a", with("aud", nil)), "token_issuer"},
		{"nobody", sign(t, es, mine, "a", with("sub", nil)), "token_subject"},
		{"a subject that is no text", sign(t, es, mine, "a", with("sub", 7)), "token_subject"},
		{"a huge subject", sign(t, es, mine, "a", with("sub", strings.Repeat("a", 300))), "token_subject"},
		{"roles that are none", sign(t, es, mine, "a", with("realm_access", map[string]any{"roles": []any{"looks", 7}})), "token_claims"},
		{"expired and another's", sign(t, es, theirs, "a", with("exp", now.Add(-time.Minute).Unix())), "token_signature"}, // the expiry is not mentioned

		{"huge", sign(t, es, mine, "a", with("more", strings.Repeat("a", maxToken))), "large_token"},
		{"very huge", strings.Repeat("a.", 8<<20), "large_token"},
		{"many parts", strings.Repeat(".", 8000), "malformed_token"},
		{"compressed and encrypted", b64(`{"alg":"RSA-OAEP","enc":"A256GCM","zip":"DEF"}`) + ".a.b.c.d", "malformed_token"},
		{"compressed", sign(t, es, mine, "a", good(), "zip", "DEF")[:50], "malformed_token"},
		{"empty", "", "malformed_token"},
		{"no JSON", "a.b.c", "malformed_token"},
		{"deep JSON", parts[0] + "." + b64(strings.Repeat("[", 5000)) + "." + parts[2], "malformed_token"},
		{"zero bytes", "\x00.\x00.\x00", "malformed_token"},
		{"a line break behind it", valid + "\n", "malformed_token"},
	} {
		refused(t, v, c.what, c.token, c.reason)
	}
}

// TestClaims checks how the configuration maps a token's claims to roles and models.
func TestClaims(t *testing.T) {
	p := newProvider(t)
	key := ec(t)
	p.publish(func(keys map[string]crypto.Signer) { keys["a"] = key })
	one := p.issuer("ES256")
	one.Claims.Models, one.Claims.Subject = "models", "https://example.com/name"
	two := p.issuer("ES256")
	two.Audience, two.Claims.Roles = "second", "scope"
	v := start(t, Config{}, one, two)
	claims := func(more ...any) jwt.MapClaims {
		c := good()
		c["https://example.com/name"] = "bob"
		for i := 0; i < len(more); i += 2 {
			c[more[i].(string)] = more[i+1]
		}
		return c
	}
	for _, c := range []struct {
		what, subject, roles string
		sees                 bool // model fraud-eu
		claims               jwt.MapClaims
	}{
		{"no models", "bob", "viewer", false, claims()},
		{"a model", "bob", "viewer", true, claims("models", []string{"x", "fraud*"})},
		{"models in a text", "bob", "viewer", true, claims("models", "x fraud-??")},
		{"other models", "bob", "viewer", false, claims("models", []string{"fraud"})},
		{"all models", "bob", "admin viewer", true, claims("models", "*", "realm_access", map[string]any{"roles": []string{"boss", "looks", "boss"}})},
		{"no roles", "bob", "", true, claims("models", "*", "realm_access", nil)},
		{"another way to the roles", "bob", "", true, claims("models", "*", "realm_access", map[string]any{"roles.": "boss"}, "roles", "boss")},
		{"a role of the host that nobody mapped", "bob", "", true, claims("models", "*", "realm_access", map[string]any{"roles": "admin operator"})},
		{"another audience", "alice", "admin", true, claims("aud", "second", "scope", "openid boss")},
	} {
		got := refused(t, v, c.what, sign(t, jwt.SigningMethodES256, key, "a", c.claims), "")
		if got == nil {
			continue
		}
		if got.Name != c.subject || got.ID != "https://id.example.com#"+c.subject || got.Kind != access.Token || strings.Join(got.Roles, " ") != c.roles || got.Sees("fraud-eu") != c.sees {
			t.Errorf("%s: %+v", c.what, got)
		}
	}
	for _, bad := range []any{7, []any{7}, "a/b", []string{""}} {
		refused(t, v, "models that are none", sign(t, jwt.SigningMethodES256, key, "a", claims("models", bad)), "token_claims")
	}
}

// TestSecrets checks that an HMAC secret is accepted, and that a public key never is
// one.
func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	secret := strings.Repeat("s3cret", 8)
	write(t, file, secret+"\n")
	i := Issuer{Issuer: "https://id.example.com", Audience: "pynomaly", SecretFile: file, Algorithms: []string{"HS256"}, Claims: Claims{Subject: "sub", Roles: "realm_access.roles"}, Roles: map[string]string{"looks": "viewer"}}
	v := start(t, Config{}, i)
	refused(t, v, "a good one", sign(t, jwt.SigningMethodHS256, []byte(secret), "", good()), "")
	refused(t, v, "one with a kid", sign(t, jwt.SigningMethodHS256, []byte(secret), "any", good()), "")
	refused(t, v, "another secret", sign(t, jwt.SigningMethodHS256, []byte(secret+"x"), "", good()), "token_signature")
	refused(t, v, "another algorithm", sign(t, jwt.SigningMethodHS512, []byte(secret), "", good()), "token_signature")
	refused(t, v, "none", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "", good()), "token_signature")
	refused(t, v, "a key", sign(t, jwt.SigningMethodES256, ec(t), "", good()), "token_signature")
	for text, want := range map[string]string{
		"short": "at least 32", "": "at least 32",
		"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE": "never a secret",
		`{"keys": [{"kty": "EC", "crv": "P-256", "x": "aaaa"}]}`:           "never a secret",
	} {
		write(t, file, text)
		if _, err := newFile(file, true, i.Algorithms, v.Log, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestRemembered checks that a token is verified once, and again after it expires or
// its key changes.
func TestRemembered(t *testing.T) {
	p := newProvider(t)
	key := ec(t)
	p.publish(func(keys map[string]crypto.Signer) { keys["a"] = key })
	var now atomic.Pointer[time.Time]
	start0 := time.Now()
	now.Store(&start0)
	v := start(t, Config{Now: func() time.Time { return *now.Load() }}, p.issuer("ES256"))
	token := sign(t, jwt.SigningMethodES256, key, "a", good())
	first := refused(t, v, "the first time", token, "")
	if second := refused(t, v, "the second time", token, ""); second != first {
		t.Error("it was verified again")
	}
	later := start0.Add(time.Hour + 31*time.Second)
	now.Store(&later)
	refused(t, v, "after its end", token, "expired_token")
	now.Store(&start0)
	if again := refused(t, v, "the clock went back", token, ""); again == first {
		t.Error("what had expired was still remembered")
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = v.Verify(context.Background(), []byte(token)) }); n > 1 { // []byte(token)
		t.Errorf("%v allocations", n)
	}
}

func FuzzVerify(f *testing.F) {
	dir := f.TempDir()
	file := filepath.Join(dir, "secret")
	write(f, file, strings.Repeat("s3cret", 8))
	v, err := New(Config{Now: time.Now}, []Issuer{{
		Issuer: "https://id.example.com", Audience: "pynomaly", SecretFile: file, Algorithms: []string{"HS256"}, Claims: Claims{Subject: "sub", Roles: "realm_access.roles", Models: "models"}, Roles: map[string]string{"looks": "viewer"},
	}}, builtin(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("a.b.c"))
	f.Add([]byte(b64(`{"alg":"none"}`) + "." + b64(`{"iss":"https://id.example.com","aud":"pynomaly"}`) + "."))
	f.Add([]byte(sign(f, jwt.SigningMethodHS256, []byte("another secret"), "a", good(), "crit", "x")))
	f.Fuzz(func(t *testing.T, token []byte) {
		p, err := v.Verify(t.Context(), token)
		var refusal *access.Error
		if p != nil || !errors.As(err, &refusal) || refusal.Public == "" {
			t.Errorf("%q: %+v, %v", token, p, err)
		}
	})
}

// FuzzClaims checks that any signed claims give a principal that the configuration
// allows, or none.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{`{}`, `{"sub":"a","r":["x"]}`, `{"sub":"a","r":"x y","models":["a*"]}`, `{"sub":1e999}`, `{"a":{"b":{"sub":"x"}}}`} {
		f.Add([]byte(seed))
	}
	roles := builtin(f)
	i := &issuer{Issuer: Issuer{Issuer: "i", Claims: Claims{Subject: "sub", Roles: "r.x", Models: "models"}, Roles: map[string]string{"x": "viewer"}}}
	f.Fuzz(func(t *testing.T, data []byte) {
		claims := jwt.MapClaims{}
		if err := jsonInto(data, &claims); err != nil {
			return
		}
		p, err := i.principal(claims, roles)
		if (p == nil) == (err == nil) || p != nil && (p.Name == "" || p.Actions.Has(access.Admin) || len(p.Roles) > 1) {
			t.Errorf("%s: %+v, %v", data, p, err)
		}
	})
}

// BenchmarkVerify shows the cost of a remembered token and of a new one.
func BenchmarkVerify(b *testing.B) {
	p := newProvider(b)
	key := ec(b)
	p.publish(func(keys map[string]crypto.Signer) { keys["a"] = key })
	v := start(b, Config{}, p.issuer("ES256"))
	token := []byte(sign(b, jwt.SigningMethodES256, key, "a", good()))
	if _, err := v.Verify(b.Context(), token); err != nil {
		b.Fatal(err)
	}
	b.Run("remembered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = v.Verify(b.Context(), token)
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		t := v.now.Load()
		var sum [32]byte
		for i := 0; b.Loop(); i++ {
			copy(sum[:], fmt.Sprint(i))
			if _, err := t.verify(b.Context(), string(token), &sum); err != nil {
				b.Fatal(err)
			}
		}
	})
}
