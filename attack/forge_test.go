package attack

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"crypto"
	"encoding/pem"
)

// object is a JSON object of a token.
type object map[string]any

// with returns the object with members changed, or removed where the value is nil.
func (o object) with(changes ...any) object {
	o = maps.Clone(o)
	for i := 0; i < len(changes); i += 2 {
		key := changes[i].(string)
		if o[key] = changes[i+1]; changes[i+1] == nil {
			delete(o, key)
		}
	}
	return o
}

// part encodes a part of a token: JSON of anything but text, and text as it is.
func part(v any) string {
	if text, ok := v.(string); ok {
		return base64.RawURLEncoding.EncodeToString([]byte(text))
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// es256 returns a token that a key has signed.
func es256(key *ecdsa.PrivateKey, header, claims any) string {
	text := part(header) + "." + part(claims)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		panic(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func hs256(secret []byte, header, claims any) string {
	text := part(header) + "." + part(claims)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func rs256(key *rsa.PrivateKey, header, claims any) string {
	text := part(header) + "." + part(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func newEC() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// claimsOf returns good claims of an issuer.
func claimsOf(issuer string, roles ...string) object {
	return object{"iss": "https://" + issuer + ".example", "aud": "pynomaly", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix(), "models": "*", "roles": roles}
}

// byKey is the header of tokens of the key a.
func byKey(kid string) object { return object{"alg": "ES256", "typ": "JWT", "kid": kid} }

// good returns a token that the host accepts.
func good(s *site, roles ...string) string {
	return es256(s.issuers.key, byKey("a"), claimsOf("good", roles...))
}

// issuers are issuers of tokens, whose keys a server has below the name of each. All
// but rsa sign with one key.
type issuers struct {
	server *httptest.Server
	ca     string
	key    *ecdsa.PrivateKey
	rsa    *rsa.PrivateKey
	weak   *rsa.PrivateKey // too short a key
	ended  chan struct{}
	secret string // file

	mu     sync.Mutex
	asked  map[string]int
	broken map[string]bool // those that lie from now on
}

// The issuers, by what their servers do once they are broken.
const (
	isGood, isRSA, isShared, isWeak = "good", "rsa", "shared", "weak"

	isSlow, isGarbage, isFailing, isEndless, isAway, isEmptied, isDown = "slow", "garbage", "failing", "endless", "away", "emptied", "down"
)

func newIssuers(t *testing.T, dir string) *issuers {
	t.Helper()
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	check(t, err)
	i := &issuers{key: newEC(), rsa: strong, weak: weak, ended: make(chan struct{}), asked: map[string]int{}, broken: map[string]bool{}, ca: filepath.Join(dir, "issuers.pem"), secret: filepath.Join(dir, "secret")}
	i.server = httptest.NewTLSServer(http.HandlerFunc(i.serve))
	t.Cleanup(func() { close(i.ended); i.server.Close() })
	write(t, i.ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.server.Certificate().Raw})))
	return i
}

// config returns the list auth.jwt.
func (i *issuers) config() string {
	var out strings.Builder
	for _, name := range []string{isGood, isRSA, isShared, isWeak, isSlow, isGarbage, isFailing, isEndless, isAway, isEmptied, isDown} {
		from, algorithms := fmt.Sprintf("jwks: %s/%s, ca: %s", i.server.URL, name, i.ca), "ES256"
		switch name {
		case isRSA, isWeak:
			algorithms = "RS256"
		case isShared:
			from, algorithms = "secret_file: "+i.secret, "HS256"
		case isDown:
			from = "jwks: https://127.0.0.1:1/keys"
		}
		fmt.Fprintf(&out, "    - {issuer: %q, audience: pynomaly, %s, algorithms: [%s], claims: {roles: roles, models: models}, roles: {looks: viewer, runs: operator, boss: admin}}\n", "https://"+name+".example", from, algorithms)
	}
	return out.String()
}

func number(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }

// set returns the keys of an issuer.
func (i *issuers) set(name string) object {
	public := func(kid string, k *rsa.PrivateKey) object {
		return object{"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": number(k.N), "e": "AQAB"}
	}
	point, err := i.key.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	coordinate := base64.RawURLEncoding.EncodeToString
	keys := []object{{"kty": "EC", "crv": "P-256", "kid": "a", "use": "sig", "alg": "ES256", "x": coordinate(point[1:33]), "y": coordinate(point[33:])}}
	switch name {
	case isRSA:
		keys = []object{public("a", i.rsa)}
	case isWeak:
		keys = []object{public("a", i.rsa), public("short", i.weak), {"kty": "oct", "kid": "oct", "k": part("a key that the issuer publishes by mistake")}}
	}
	return object{"keys": keys}
}

func (i *issuers) serve(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	i.mu.Lock()
	i.asked[name]++
	broken := i.broken[name]
	i.mu.Unlock()
	if !broken {
		_ = json.NewEncoder(w).Encode(i.set(name))
		return
	}
	switch name {
	case isSlow:
		select {
		case <-r.Context().Done():
		case <-i.ended:
		}
	case isGarbage:
		_, _ = w.Write([]byte("<html>{\"keys\": [{\"kty\": \"EC\"}]}"))
	case isFailing:
		http.Error(w, "it is broken", http.StatusInternalServerError)
	case isEndless:
		for r.Context().Err() == nil {
			if _, err := w.Write([]byte(strings.Repeat(`{"keys":[`, 1000))); err != nil {
				return
			}
		}
	case isAway:
		http.Redirect(w, r, "http://127.0.0.1:1/keys", http.StatusFound)
	case isEmptied:
		_, _ = w.Write([]byte(`{"keys": []}`))
	default:
		_ = json.NewEncoder(w).Encode(i.set(name))
	}
}

// breaks makes an issuer's server lie from now on.
func (i *issuers) breaks(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.broken[name] = true
}

// count returns how often an issuer was asked.
func (i *issuers) count(name string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked[name]
}

// publicKeys returns the texts in which the public key of an issuer is known to
// everybody, which an attacker could use as the secret of an HMAC.
func publicKeys(s *site) map[string][]byte {
	file, err := os.ReadFile(s.issuers.ca)
	if err != nil {
		panic(err)
	}
	set, err := json.Marshal(s.issuers.set(isRSA))
	if err != nil {
		panic(err)
	}
	return map[string][]byte{"certificate": file, "set": set, "number": s.issuers.rsa.N.Bytes(), "key": pemOf(&s.issuers.rsa.PublicKey)}
}
