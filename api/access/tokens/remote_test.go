package tokens

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

func jsonInto(data []byte, to any) error { return json.Unmarshal(data, to) }

// quick returns short times for tests that wait for their effects.
func quick() times {
	return times{refresh: 50 * time.Millisecond, retry: 50 * time.Millisecond, ask: 50 * time.Millisecond, fetch: 10 * time.Minute, wait: 10 * time.Minute}
}

// slow returns times that do not pass during a test.
func slow() times {
	return times{refresh: time.Hour, retry: time.Hour, ask: time.Hour, fetch: time.Hour, wait: 10 * time.Minute}
}

// TestRotation checks that no good token is refused while keys are rotated.
func TestRotation(t *testing.T) {
	p := newProvider(t)
	old, next := ec(t), ec(t)
	p.publish(func(keys map[string]crypto.Signer) { keys["old"] = old })
	v := start(t, Config{times: quick()}, p.issuer("ES256"))
	var signer atomic.Value
	signer.Store([]any{old, "old"})
	stop := make(chan struct{})
	var verified atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				by := signer.Load().([]any)
				refused(t, v, by[1].(string), sign(t, jwt.SigningMethodES256, by[0], by[1].(string), good()), "")
				verified.Add(1)
			}
		})
	}
	more := func(what string) {
		t.Helper()
		from := verified.Load()
		testkit.Eventually(t, what, func() bool { return verified.Load() > from+50 || t.Failed() })
	}
	more("tokens of the old key")
	p.publish(func(keys map[string]crypto.Signer) { keys["new"] = next })
	signer.Store([]any{next, "new"}) // at once, before any refresh
	more("tokens of the new key")
	close(stop)
	wg.Wait()
	last := sign(t, jwt.SigningMethodES256, old, "old", good())
	refused(t, v, "the old key is there still", last, "")
	p.publish(func(keys map[string]crypto.Signer) { delete(keys, "old") })
	testkit.Eventually(t, "the old key is gone, and what it verified is forgotten", func() bool {
		_, err := v.Verify(t.Context(), []byte(last))
		return err != nil
	})
}

// TestFlood checks that tokens with unknown kids, from anybody, cause one fetch of
// the keys, and another one as soon as that is allowed.
func TestFlood(t *testing.T) {
	p := newProvider(t)
	key := ec(t)
	p.publish(func(keys map[string]crypto.Signer) { keys["a"] = key })
	v := start(t, Config{times: slow()}, p.issuer("ES256"))
	good1 := sign(t, jwt.SigningMethodES256, key, "a", good())
	refused(t, v, "a good one", good1, "")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := range 20 {
				refused(t, v, "flood", sign(t, jwt.SigningMethodES256, key, fmt.Sprint(i, j), good()), "unknown_token_key")
			}
		})
	}
	wg.Wait()
	refused(t, v, "a good one", good1, "")
	if n := p.fetches.Load(); n != 2 {
		t.Errorf("the keys were fetched %d times", n)
	}

	when := slow()
	when.ask = 300 * time.Millisecond
	v = start(t, Config{times: when}, p.issuer("ES256"))
	refused(t, v, "the first unknown one", sign(t, jwt.SigningMethodES256, key, "x", good()), "unknown_token_key")
	next := ec(t)
	p.publish(func(keys map[string]crypto.Signer) { keys["next"] = next })
	token := sign(t, jwt.SigningMethodES256, next, "next", good())
	testkit.Eventually(t, "a new key is seen although others ask all the time", func() bool {
		_, _ = v.Verify(t.Context(), []byte(sign(t, jwt.SigningMethodES256, key, "y", good())))
		_, err := v.Verify(t.Context(), []byte(token))
		return err == nil
	})
}

// TestSlowSource checks that a source that does not answer delays no token whose key
// is known, others no longer than the bound, and no more than a bounded number of
// them.
func TestSlowSource(t *testing.T) {
	p := newProvider(t)
	key := ec(t)
	p.publish(func(keys map[string]crypto.Signer) { keys["a"] = key })
	when := slow()
	when.wait = 200 * time.Millisecond
	v := start(t, Config{times: when}, p.issuer("ES256"))
	token := sign(t, jwt.SigningMethodES256, key, "a", good())
	testkit.Eventually(t, "the keys are there", func() bool { _, err := v.Verify(t.Context(), []byte(token)); return err == nil })
	hang, asked := make(chan struct{}), make(chan struct{})
	p.answers(func(http.ResponseWriter, *http.Request) { close(asked); <-hang })
	defer close(hang)
	var wg sync.WaitGroup
	for range 2 * maxWaiting {
		wg.Go(func() {
			refused(t, v, "an unknown key", sign(t, jwt.SigningMethodES256, key, "b", good()), "unknown_token_key")
		})
	}
	<-asked
	for range 20 { // new tokens, of which nothing is remembered
		refused(t, v, "a known key", sign(t, jwt.SigningMethodES256, key, "a", good()), "")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Verify(ctx, []byte(sign(t, jwt.SigningMethodES256, key, "c", good()))); !errors.Is(err, errNoKey) {
		t.Errorf("a request that has ended: %v", err)
	}
	wg.Wait() // within the bound, although the source still hangs
}

// TestBadSource checks that, whatever a source answers, the known keys stay, nobody
// else is let in, and the error is reported.
func TestBadSource(t *testing.T) {
	p := newProvider(t)
	key, evil := ec(t), ec(t)
	p.publish(func(keys map[string]crypto.Signer) { keys["a"] = key })
	var last atomic.Value
	last.Store("")
	v := start(t, Config{times: quick(), Observe: func(_ string, err error) { last.Store(fmt.Sprint(err)) }}, p.issuer("ES256"))
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(p.set()) }))
	defer plain.Close()
	refused(t, v, "before", sign(t, jwt.SigningMethodES256, key, "a", good()), "")
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
	}
	for _, c := range []struct {
		want   string
		answer http.HandlerFunc
	}{
		{"503", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }},
		{"not a JWK Set", text("<html>")},
		{"not a JWK Set", text("[]")},
		{"none of the key set's 0 keys", text("{}")},
		{"none of the key set's 2 keys", text(`{"keys":[7,{"kty":"EC","crv":"P-256","x":"AA","y":"AA","kid":"a"}]}`)},
		{"none of the key set's 1 keys", text(`{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"a","alg":"ES256"}]}`)},
		{"at most 256", text(`{"keys":[` + strings.Repeat("{},", 300) + `{}]}`)},
		{"more than 1048576 bytes", text(`{"keys":["` + strings.Repeat("a", 2<<20) + `"]}`)},
		{"redirects away from https", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain.URL, http.StatusFound) }},
		{"more than 3 times", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }},
		{"unexpected EOF", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
		}},
	} {
		p.answers(c.answer)
		last.Store("")
		testkit.Eventually(t, c.want, func() bool { return strings.Contains(last.Load().(string), c.want) })
		refused(t, v, c.want, sign(t, jwt.SigningMethodES256, key, "a", good()), "")
		refused(t, v, c.want, sign(t, jwt.SigningMethodES256, evil, "a", good()), "token_signature")
	}
	p.answers(nil)
	testkit.Eventually(t, "it is well again", func() bool { return last.Load() == "<nil>" })
	untrusted := p.issuer("ES256")
	untrusted.CA = "" // the system's CAs did not sign the certificate of p's server
	refused(t, start(t, Config{times: quick()}, untrusted), "a source that nobody vouches for", sign(t, jwt.SigningMethodES256, key, "a", good()), "unknown_token_key")
	none := start(t, Config{times: quick()}, Issuer{Issuer: "i", Audience: "a", JWKS: "https://127.0.0.1:1/keys", Algorithms: []string{"ES256"}})
	refused(t, none, "a source that was never there", sign(t, jwt.SigningMethodES256, key, "a", jwt.MapClaims{"iss": "i", "aud": "a", "sub": "x", "exp": time.Now().Add(time.Hour).Unix()}), "unknown_token_key")
}

// TestFiles checks that a file of keys is followed, and that an unusable file is
// reported at the start.
func TestFiles(t *testing.T) {
	p := newProvider(t)
	old, next := ec(t), ec(t)
	p.publish(func(keys map[string]crypto.Signer) { keys["old"] = old })
	name := filepath.Join(t.TempDir(), "jwks.json")
	write(t, name, string(p.set()))
	i := p.issuer("ES256")
	i.JWKS = name
	v := start(t, Config{}, i)
	token := sign(t, jwt.SigningMethodES256, old, "old", good())
	refused(t, v, "the old key", token, "")
	refused(t, v, "no kid, and one key", sign(t, jwt.SigningMethodES256, old, "", good()), "")
	refused(t, v, "an unknown kid", sign(t, jwt.SigningMethodES256, old, "x", good()), "unknown_token_key")
	p.publish(func(keys map[string]crypto.Signer) { keys["new"], keys["newer"] = next, ec(t); delete(keys, "old") })
	write(t, name, string(p.set()))
	testkit.Eventually(t, "the new key", func() bool {
		_, err := v.Verify(t.Context(), []byte(sign(t, jwt.SigningMethodES256, next, "new", good())))
		return err == nil
	})
	refused(t, v, "the old key is gone", token, "unknown_token_key")
	refused(t, v, "no kid, and two keys", sign(t, jwt.SigningMethodES256, next, "", good()), "unknown_token_key")
	for file, want := range map[string]string{name + "x": "no such file", os.DevNull: "not a regular file"} {
		i.JWKS = file
		if _, err := v.Prepare([]Issuer{i}, builtin(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
	refused(t, v, "what was not taken up changes nothing", sign(t, jwt.SigningMethodES256, next, "new", good()), "")
}

// TestPrepare checks that another configuration keeps fetched keys, and forgets
// tokens that were verified by the one before.
func TestPrepare(t *testing.T) {
	p := newProvider(t)
	key := ec(t)
	p.publish(func(keys map[string]crypto.Signer) { keys["a"] = key })
	v := start(t, Config{times: slow()}, p.issuer("ES256"))
	token := sign(t, jwt.SigningMethodES256, key, "a", with("realm_access", map[string]any{"roles": "boss"}))
	if got := refused(t, v, "before", token, ""); len(got.Roles) != 1 || got.Roles[0] != "admin" {
		t.Errorf("%+v", got)
	}
	p.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	i := p.issuer("ES256")
	i.Roles = map[string]string{"boss": "viewer"}
	use, err := v.Prepare([]Issuer{i}, builtin(t))
	if err != nil {
		t.Fatal(err)
	}
	use()
	if got := refused(t, v, "after", token, ""); len(got.Roles) != 1 || got.Roles[0] != "viewer" {
		t.Errorf("%+v", got)
	}
	i.Roles = map[string]string{"boss": "owner"}
	if _, err := v.Prepare([]Issuer{i}, builtin(t)); err == nil {
		t.Error("a role that is not there was taken")
	}
	i.CA = p.CA + "x"
	if _, err := v.Prepare([]Issuer{i}, builtin(t)); err == nil {
		t.Error("CAs that are not there were taken")
	}
	if use, err = v.Prepare(nil, builtin(t)); err != nil {
		t.Fatal(err)
	}
	use()
	refused(t, v, "no issuer any more", token, "token_issuer")
}

// TestWeakKeys checks that keys that are too weak, too large or for another use
// verify nothing.
func TestWeakKeys(t *testing.T) {
	p := newProvider(t)
	p.publish(func(keys map[string]crypto.Signer) {
		keys["weak"], keys["ok"], keys["ec"] = rsaKey(t, 1024), rsaKey(t, 2048), ec(t)
	})
	text := p.set()
	set, err := parseJWKS(text, []string{"RS256", "ES256"})
	if err != nil || len(set.keys) != 2 || set.find("RS256", "weak") != nil || set.find("RS256", "ok") == nil || set.find("ES256", "ok") != nil {
		t.Errorf("%+v, %v", set, err)
	}
	for _, use := range []string{`"use":"enc"`, `"use":"sig","key_ops":["sign"]`, `"use":"sig","alg":"PS256"`} {
		if set, err := parseJWKS([]byte(strings.ReplaceAll(string(text), `"use":"sig"`, use)), []string{"RS256", "ES256"}); err == nil && set.find("RS256", "ok") != nil {
			t.Errorf("%s: %+v", use, set)
		}
	}
}

func FuzzJWKS(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"sig","kid":"1"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"oct","k":"aa"},{"kty":"EC","crv":"P-256","x":"AA","y":"_____w","x5u":"https://127.0.0.1:1"}]}`))
	all := []string{"RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA", "HS256"}
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := parseJWKS(data, all)
		if err != nil {
			return
		}
		for _, k := range set.keys {
			if _, secret := k.key.([]byte); secret || len(k.algorithms) == 0 {
				t.Errorf("%s: %+v", data, k)
			}
		}
	})
}
