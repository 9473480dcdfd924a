package oci

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"
)

const secret = "s3cret"

// TestGuard checks where credentials may go.
func TestGuard(t *testing.T) {
	type options = Options
	for _, c := range []struct {
		reference, to string
		o             options
		allowed       bool
	}{
		{"r.example.com/a:1", "https://r.example.com/v2/", options{}, true},
		{"r.example.com/a:1", "https://R.Example.com/v2/", options{}, true},
		{"r.example.com:5000/a:1", "https://r.example.com/token", options{}, true},
		{"r.example.com/a:1", "http://r.example.com/token", options{}, false},
		{"r.example.com/a:1", "http://r.example.com/token", options{PlainHTTP: true}, true},
		{"r.example.com/a:1", "https://auth.example.com/token", options{}, false},
		{"r.example.com/a:1", "https://auth.example.com/token", options{AuthHosts: []string{"auth.example.com"}}, true},
		{"r.example.com/a:1", "https://auth.example.com:443/token", options{AuthHosts: []string{"auth.example.com"}}, true},
		{"r.example.com/a:1", "https://auth.example.com:444/token", options{AuthHosts: []string{"auth.example.com"}}, false},
		{"r.example.com/a:1", "https://auth.example.com:444/token", options{AuthHosts: []string{"auth.example.com:444"}}, true},
		{"r.example.com/a:1", "http://auth.example.com:443/token", options{AuthHosts: []string{"auth.example.com"}, PlainHTTP: true}, false},
		{"r.example.com/a:1", "https://r.example.com.evil.example/token", options{}, false},
		{"r.example.com/a:1", "https://r.example.com@evil.example/token", options{}, false},
		{"r.example.com/a:1", "https://evil.example/r.example.com", options{PlainHTTP: true}, false},
		{"docker.io/library/a:1", "https://registry-1.docker.io/v2/", options{}, true},
		{"docker.io/library/a:1", "https://auth.docker.io/token", options{}, true},
		{"docker.io/library/a:1", "http://auth.docker.io/token", options{}, false},
		{"r.example.com/a:1", "https://auth.docker.io/token", options{}, false},
		{"registry.gitlab.com/a/b:1", "https://gitlab.com/jwt/auth", options{}, true},
		{"127.0.0.1:5000/a:1", "http://127.0.0.1:5000/v2/", options{PlainHTTP: true}, true},
		{"127.0.0.1:5000/a:1", "http://127.0.0.1:5001/token", options{PlainHTTP: true}, false},
		{"r.example.com:5000/a:1", "http://r.example.com/token", options{PlainHTTP: true}, false},
		{"127.0.0.1:5000/a:1", "http://localhost:5001/token", options{PlainHTTP: true}, false},
		{"127.0.0.1:5000/a:1", "http://127.0.0.1:5001/token", options{PlainHTTP: true}, false},
		{"r.example.com:5000/a:1", "http://r.example.com/token", options{PlainHTTP: true}, false},
		{"127.0.0.1:5000/a:1", "http://localhost:5001/token", options{PlainHTTP: true, AuthHosts: []string{"localhost:5001"}}, true},
	} {
		ref, err := registry.ParseReference(c.reference)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(c.to)
		if err != nil {
			t.Fatal(err)
		}
		if err := newGuard(ref, c.o, nil).allows(u); (err == nil) != c.allowed || (err != nil && !errors.Is(err, ErrCredentials)) {
			t.Errorf("%s, %+v: to %s: %v", c.reference, c.o, c.to, err)
		}
	}
}

func TestValidAuthHost(t *testing.T) {
	for text, want := range map[string]bool{
		"auth.example.com": true, "auth.example.com:444": true, "[2001:db8::1]:444": true, "localhost": true,
		"": false, "https://auth.example.com": false, "auth.example.com/token": false, "u@auth.example.com": false, "a b": false, "a:": false, ":1": false, "a?b": false, "a#b": false,
	} {
		if err := ValidAuthHost(text); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestCredentials checks that another host is asked for a token only if that is
// allowed, and that credentials do not follow a redirect of the token's host.
func TestCredentials(t *testing.T) {
	var told atomic.Int64 // how often the secret reached the token's host
	var elsewhere atomic.Int64
	listen := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
	evil := listen(func(rw http.ResponseWriter, r *http.Request) {
		if _, password, ok := r.BasicAuth(); ok && password == secret {
			elsewhere.Add(1)
		}
		if text, _ := io.ReadAll(r.Body); strings.Contains(string(text), secret) {
			elsewhere.Add(1)
		}
		_ = json.NewEncoder(rw).Encode(map[string]string{"token": "t", "access_token": "t"})
	})
	var onward atomic.Bool
	issuer := strings.Replace(listen(func(rw http.ResponseWriter, r *http.Request) {
		if onward.Load() {
			http.Redirect(rw, r, "http://"+evil+"/token", http.StatusTemporaryRedirect)
			return
		}
		_, password, _ := r.BasicAuth()
		if text, _ := io.ReadAll(r.Body); password == secret || strings.Contains(string(text), secret) {
			told.Add(1)
		}
		_ = json.NewEncoder(rw).Encode(map[string]string{"token": "t", "access_token": "t"})
	}), "127.0.0.1", "localhost", 1)
	address := listen(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer t" {
			rw.WriteHeader(http.StatusNotFound)
			return
		}
		rw.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer realm=%q,service=\"x\"", "http://"+issuer+"/token"))
		rw.WriteHeader(http.StatusUnauthorized)
	})
	for _, login := range []string{
		fmt.Sprintf(`{"auth": %q}`, base64.StdEncoding.EncodeToString([]byte("user:"+secret))),
		fmt.Sprintf(`{"auth": %q, "identitytoken": %q}`, base64.StdEncoding.EncodeToString([]byte("user:")), secret),
	} {
		config := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(config, fmt.Appendf(nil, `{"auths": {%q: %s}}`, address, login), 0o600); err != nil {
			t.Fatal(err)
		}
		pull := func(hosts ...string) error {
			_, err := Pull(context.Background(), address+"/a:1", t.TempDir(), Options{PlainHTTP: true, Config: config, AuthHosts: hosts})
			return err
		}
		told.Store(0)
		onward.Store(false)
		if err := pull(); !errors.Is(err, ErrCredentials) || !strings.Contains(err.Error(), "--registry-auth-host "+issuer) || told.Load() > 0 {
			t.Errorf("%s: not allowed: %v, sent %d times", login, err, told.Load())
		}
		if err := pull(issuer); err == nil || !strings.Contains(err.Error(), "not found") || told.Load() != 1 {
			t.Errorf("%s: allowed: %v, sent %d times", login, err, told.Load())
		}
		onward.Store(true)
		if err := pull(issuer); err == nil || elsewhere.Load() > 0 {
			t.Errorf("%s: redirected: %v, sent %d times elsewhere", login, err, elsewhere.Load())
		}
	}
	if err := errors.Join(pullWith(t, address, "https://x")); err == nil || !strings.Contains(err.Error(), "is not <host>[:<port>]") {
		t.Errorf("no host: %v", err)
	}
}

func pullWith(t *testing.T, address, host string) error {
	t.Helper()
	_, err := Pull(context.Background(), address+"/a:1", t.TempDir(), Options{PlainHTTP: true, AuthHosts: []string{host}})
	return err
}

// wire replaces the network: a registry with configurable challenges and redirects,
// and hosts that give tokens to everybody. It records who received the secret.
type wire struct {
	challenge, location string
	code                int
	sent                []string
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	said := req.URL.String()
	for name, values := range req.Header {
		said += name + strings.Join(values, "")
	}
	if req.Body != nil {
		text, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		said += string(text)
	}
	for _, s := range []string{secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte("user:" + secret))} {
		if strings.Contains(said, s) {
			w.sent = append(w.sent, req.URL.Scheme+"://"+strings.ToLower(req.URL.Host))
			break
		}
	}
	rec := httptest.NewRecorder()
	switch {
	case req.URL.Host != "r.example.com" || req.URL.Path != "/v2/":
		if w.code != 0 && req.URL.Path != "/last" {
			rec.Header().Set("Location", "https://third.example/last")
			rec.WriteHeader(w.code)
		}
		_, _ = rec.WriteString(`{"token": "t", "access_token": "t"}`)
	case req.Header.Get("Authorization") != "":
	case w.location != "":
		rec.Header()["Location"] = []string{w.location}
		rec.WriteHeader(http.StatusTemporaryRedirect)
	default:
		rec.Header()["Www-Authenticate"] = []string{w.challenge}
		rec.WriteHeader(http.StatusUnauthorized)
	}
	resp := rec.Result()
	resp.Request = req
	return resp, nil
}

// FuzzChallenge checks that whatever a registry answers, only the registry and its
// issuer receive the secret, and never unencrypted.
func FuzzChallenge(f *testing.F) {
	f.Add(`Bearer realm="https://auth.example.com/token",service="x",scope="a b"`, "", false, 0)
	f.Add(`Bearer realm="https://evil.example/token"`, "", true, 307)
	f.Add(`Bearer realm="http://r.example.com/token"`, "", true, 0)
	f.Add(`Bearer realm="https://r.example.com@evil.example/"`, "", false, 308)
	f.Add(`Bearer realm="https://u:p@r.example.com\@evil.example/"`, "", false, 0)
	f.Add(`Basic realm="x"`, "https://evil.example/v2/", false, 0)
	f.Add(`bearer realm=https`, "//evil.example/v2/", true, 0)
	f.Fuzz(func(t *testing.T, challenge, location string, refresh bool, code int) {
		if code < 301 || code > 308 || code == 304 || code == 306 {
			code = 0
		}
		w := &wire{challenge: challenge, location: location, code: code}
		ref := registry.Reference{Registry: "r.example.com", Repository: "a", Reference: "1"}
		credential := auth.Credential{Username: "user", Password: secret}
		if refresh {
			credential = auth.Credential{RefreshToken: secret}
		}
		c := &auth.Client{
			Client:     newGuard(ref, Options{AuthHosts: []string{"auth.example.com"}}, w).client(),
			Credential: func(context.Context, string) (auth.Credential, error) { return credential, nil },
		}
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://r.example.com/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := c.Do(req); err == nil {
			_ = resp.Body.Close()
		}
		for _, to := range w.sent {
			u, err := url.Parse(to)
			if err != nil || u.Scheme != "https" || (u.Hostname() != "r.example.com" && u.Host != "auth.example.com" && u.Host != "auth.example.com:443") {
				t.Errorf("%q, %q: the secret was sent to %s", challenge, location, to)
			}
		}
	})
}
