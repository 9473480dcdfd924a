package rest_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestProtectingHeaders checks that answers of all kinds, refusals among them, tell
// browsers and caches not to guess, frame or keep them.
func TestProtectingHeaders(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) { c.HSTS, c.Loopback = time.Hour, false }})
	for request, want := range map[string]int{
		"GET /health HTTP/1.1\r\nHost: models.test": 200, "GET /api/v1/models HTTP/1.1\r\nHost: models.test": 200, "GET /nothing HTTP/1.1\r\nHost: models.test": 404,
		"PUT /health HTTP/1.1\r\nHost: models.test": 405, "GET /metrics HTTP/1.1\r\nHost: models.test": 200, "POST /api/v1/predict HTTP/1.1\r\nHost: models.test\r\nContent-Length: -1": 400,
		"GET /health HTTP/1.1\r\nHost: models.test\r\nX: " + strings.Repeat("x", 20<<10): 431, "GET /health HTTP/1.1\r\nHost: localhost:80": 200, "GET /health HTTP/1.1\r\nHost: a.localhost": 200,
	} {
		conn := dial(t, h)
		write(t, conn, request+"\r\nConnection: close\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%.60q: %v", request, err)
		}
		_ = resp.Body.Close()
		get := resp.Header.Get
		if resp.StatusCode != want || get("X-Content-Type-Options") != "nosniff" || get("Cache-Control") != "no-store" || !strings.Contains(get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("%.60q: %d %v", request, resp.StatusCode, resp.Header)
		}
		// Its parser refused the two that are no requests before it read a Host.
		told := get("Strict-Transport-Security") == "max-age=3600"
		if local := strings.Contains(request, "localhost"); told == local {
			t.Errorf("%.60q: Strict-Transport-Security is %q", request, get("Strict-Transport-Security"))
		}
	}
	plain := testkit.Serve(t, testkit.Options{Dir: twoModels(t)})
	resp, err := http.Get(plain.URL + "/health")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if v := resp.Header.Get("Strict-Transport-Security"); v != "" {
		t.Errorf("a server without HSTS says %q", v)
	}
}

// TestMalformedRequestsAreNotQuoted checks that what the HTTP parser refuses is not sent
// back, since it may be a credential.
func TestMalformedRequestsAreNotQuoted(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: t.TempDir()})
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: localhost\r\nX-API-Key: secret\x00\r\n\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\nX-API-Key : secret\r\n\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\nsecret\r\n\r\n",
		"secret\r\n\r\n", "GET / secret\r\nHost: localhost\r\n\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: secret\r\n\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: secret\r\n\r\n",
	} {
		conn := dial(t, h)
		write(t, conn, text)
		resp, p := answerOn(t, conn)
		if resp.StatusCode != http.StatusBadRequest || strings.Contains(p.Detail, "secret") || !strings.HasPrefix(p.Detail, "malformed HTTP request: ") {
			t.Errorf("%q: %d %s", text, resp.StatusCode, p.Detail)
		}
	}
}

// TestCORS checks which pages a browser lets read answers, and that a preflight needs
// no credentials and gives none.
func TestCORS(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) {
		c.Origins, c.Gate = []string{"https://friend.example"}, gateOf(t, access.Configured, nil)
	}})
	ask := func(method, path string, header ...string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, h.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if v := resp.Header.Get("Access-Control-Allow-Credentials"); v != "" {
			t.Errorf("%s %s: credentials of the browser are allowed: %q", method, path, v)
		}
		return resp
	}
	const friend, evil, method = "https://friend.example", "https://evil.example", "Access-Control-Request-Method"
	for _, c := range []struct {
		method, path string
		header       []string
		want         int
		allowed      string // Access-Control-Allow-Origin
		methods      string // Access-Control-Allow-Methods
	}{
		{"OPTIONS", "/api/v1/predict", []string{"Origin", friend, method, "POST", "Access-Control-Request-Headers", "x-api-key"}, 204, friend, "POST"},
		{"OPTIONS", "/api/v1/models/pima/samples", []string{"Origin", friend, method, "GET"}, 204, friend, "GET, POST"},
		{"OPTIONS", "/nothing", []string{"Origin", friend, method, "GET"}, 404, friend, ""},
		{"OPTIONS", "/api/v1/predict", []string{"Origin", friend}, 405, friend, ""},
		{"OPTIONS", "/api/v1/predict", []string{"Origin", evil, method, "POST"}, 403, "", ""},
		{"OPTIONS", "/api/v1/predict", []string{method, "POST"}, 405, "", ""},
		{"GET", "/api/v1/models", []string{"Origin", friend}, 401, friend, ""}, // the page may read why
		{"GET", "/health", []string{"Origin", friend}, 200, friend, ""},
		{"GET", "/health", []string{"Origin", evil}, 200, "", ""},
		{"GET", "/health", []string{"Origin", friend + ".evil.example"}, 200, "", ""},
		{"GET", "/health", []string{"Origin", "null"}, 200, "", ""},
	} {
		resp := ask(c.method, c.path, c.header...)
		get := resp.Header.Get
		if resp.StatusCode != c.want || get("Access-Control-Allow-Origin") != c.allowed || get("Access-Control-Allow-Methods") != c.methods || get("Vary") != "Origin" && c.want != 403 {
			t.Errorf("%s %s of %q: %d %v", c.method, c.path, c.header, resp.StatusCode, resp.Header)
		}
		if c.want == 204 && (!strings.Contains(get("Access-Control-Allow-Headers"), "Content-Encoding, Content-Type, X-API-Key") || get("Access-Control-Max-Age") == "") {
			t.Errorf("the preflight: %v", resp.Header)
		}
	}
	h.Server.SetOrigins(nil) // a reload
	if resp := ask("OPTIONS", "/api/v1/predict", "Origin", friend, method, "POST"); resp.StatusCode != http.StatusForbidden || resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("without origins: %d %v", resp.StatusCode, resp.Header)
	}
}
