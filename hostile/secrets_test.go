package hostile

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

// secretHost is a host that was given secrets in every way, and what it has said.
type secretHost struct {
	*hosttest.Host
	client  *http.Client
	secrets map[string]string // by what they are
	said    map[string]string // by who asked
}

// ask sends a request and keeps the whole answer.
func (h *secretHost) ask(t *testing.T, name, method, url, body string, header ...string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	var all bytes.Buffer
	_ = resp.Header.Write(&all)
	if _, err := io.Copy(&all, resp.Body); err != nil {
		return 0
	}
	h.said[name] = all.String()
	return resp.StatusCode
}

// TestSecrets gives a host secrets in every way that it takes them, uses them rightly
// and wrongly at level debug, and finds none of them in anything that it has said or
// written: answers, log, metrics, audit, configuration, profiles, state.
func TestSecrets(t *testing.T) {
	p := hosttest.NewPlace(t)
	testkit.CopyModel(t, p.Models, "pima-lof", "pima", "1.0.0", nil)
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	cert, key := ownCertificate(t)
	h := &secretHost{said: map[string]string{}, secrets: map[string]string{
		"header of traces": "hdr-" + rand.Text(), "variable of programs": "env-" + rand.Text(), "secret of tokens": "hmac-" + rand.Text() + rand.Text(),
		"TLS key": strings.Split(key, "\n")[1], "header that is none": "odd-" + rand.Text(),
	}}
	keys := filepath.Join(dir, "keys.yaml")
	for _, role := range []string{"admin", "viewer"} {
		out, err := exec.Command(hosttest.Binary(t), "key", "create", "--role", role, "--file", keys).Output()
		if err != nil {
			t.Fatal(err)
		}
		h.secrets["key of "+role] = strings.TrimSpace(string(out))
	}
	h.secrets["key that is unknown"] = "pyn_abcdefgh_" + strings.Repeat("Zz9", 15)
	audit, operators := filepath.Join(dir, "audit.log"), testkit.FreeAddress(t)
	config := func(headers string) string {
		return fmt.Sprintf("server: {tls: {cert: %s, key: %s}, samples: {size: 10}}\nauth:\n  keys: %s\n  jwt: [{issuer: i, audience: a, secret_file: %s, algorithms: [HS256], roles: {looks: viewer}, claims: {roles: roles}}]\n"+
			"backends: {process: {enabled: true, user: %q, allow: [{path: %s}], env: {TOKEN: %s}}}\naudit: {file: %s, predictions: true}\nadmin: {listen: %q}\nlog: {level: debug}\n"+
			"traces: {endpoint: \"http://127.0.0.1:1\", ratio: 1, headers: %q}\n",
			write("cert.pem", cert), write("key.pem", key), keys, write("hmac", h.secrets["secret of tokens"]),
			testkit.PluginUser(), p.Models, h.secrets["variable of programs"], audit, operators, headers)
	}
	h.Host = hosttest.Start(t, p, hosttest.Options{Config: config("authorization=" + h.secrets["header of traces"]), Args: []string{"--config", filepath.Join(p.Root, "plugins.yaml")}})
	url := "https://" + h.Address
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(cert))
	h.client = &http.Client{Timeout: hosttest.Hangs, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	h.Eventually("the host is ready", func() bool { return h.ask(t, "ready", http.MethodGet, url+"/ready", "") == http.StatusOK })

	token := func(change jwt.MapClaims, secret string) string {
		claims := jwt.MapClaims{"iss": "i", "aud": "a", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix(), "roles": "looks"}
		for k, v := range change {
			claims[k] = v
		}
		text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	h.secrets["token"] = token(nil, h.secrets["secret of tokens"])
	h.secrets["token that has expired"] = token(jwt.MapClaims{"exp": 1}, h.secrets["secret of tokens"])
	h.secrets["token of somebody else"] = token(nil, "another secret, which is long enough")
	row := `{"model_id":"pima","data":[8,155,62,26,495,34,0.543,46]}`
	for who, secret := range h.secrets {
		for _, route := range [][3]string{
			{http.MethodPost, "/api/v1/predict", row}, {http.MethodPost, "/api/v1/predict", `{"data":[1]}`}, {http.MethodPost, "/api/v1/models/pima/load", ""}, {http.MethodGet, "/api/v1/models/pima/samples", ""},
		} {
			name := strings.Join(route[:2], " ") + " with the " + who
			h.ask(t, name+" as a key", route[0], url+route[1], route[2], "X-API-Key", secret)
			h.ask(t, name+" as a token", route[0], url+route[1], route[2], "Authorization", "Bearer "+secret)
			h.ask(t, name+" as a password", route[0], url+route[1], route[2], "Authorization", "Basic "+secret)
			if route[1] != "/api/v1/predict" {
				continue
			}
			h.ask(t, name+" twice", route[0], url+route[1], route[2], "X-API-Key", secret, "Authorization", "Bearer "+h.secrets["key of viewer"])
			h.ask(t, name+" of a socket", route[0], url+route[1], route[2], "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol", "bearer, "+secret)
		}
	}
	if h.ask(t, "a prediction", http.MethodPost, url+"/api/v1/predict", row, "X-API-Key", h.secrets["key of viewer"]) != http.StatusOK || h.ask(t, "with a token", http.MethodGet, url+"/api/v1/models", "", "Authorization", "Bearer "+h.secrets["token"]) != http.StatusOK {
		t.Errorf("the secrets are of no use: %s, %s", h.said["a prediction"], h.said["with a token"])
	}
	for _, path := range []string{"/metrics", "/health", "/ready", "/api/v1/models/pima/stats", "/openapi.json", "/nowhere"} {
		h.ask(t, path, http.MethodGet, url+path, "", "X-API-Key", h.secrets["key of admin"])
	}
	h.client = &http.Client{Timeout: hosttest.Hangs, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range []string{"/config", "/debug/pprof/goroutine?debug=2"} {
		if status := h.ask(t, "operators "+path, http.MethodGet, "http://"+operators+path, "", "X-API-Key", h.secrets["key of admin"]); status != http.StatusOK {
			t.Errorf("%s: status %d: %s", path, status, h.said["operators "+path])
		}
	}
	if err := os.WriteFile(filepath.Join(p.Root, "plugins.yaml"), []byte(config(h.secrets["header that is none"])), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Signal(syscall.SIGHUP)
	h.Eventually("the reload is refused", func() bool { return h.Logged("was not applied") })
	h.Eventually("spans could not be sent", func() bool { return h.Logged("spans could not be sent") })
	h.Signal(syscall.SIGTERM)
	h.Wait(hosttest.Hangs)
	h.said["the log"] = h.Log()
	h.said["the audit"] = read(t, audit)
	if len(h.said["the audit"]) == 0 || !strings.Contains(h.said["the log"], `"level":"DEBUG"`) {
		t.Error("nothing was audited, or logged at level debug")
	}
	if err := filepath.WalkDir(p.State, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			h.said["the file "+path] = read(t, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	h.check(t)
}

// check looks for each secret in everything that was said, and for the part of a key or
// token that makes it one.
func (h *secretHost) check(t *testing.T) {
	t.Helper()
	for what, secret := range h.secrets {
		parts := []string{secret}
		if strings.HasPrefix(secret, "pyn_") {
			parts = append(parts, secret[len("pyn_12345678_"):][:16])
		}
		if at := strings.LastIndexByte(secret, '.'); at >= 0 {
			parts = append(parts, secret[at+1:], secret[strings.IndexByte(secret, '.')+1:at])
		}
		for who, text := range h.said {
			for _, part := range parts {
				if at := strings.Index(text, part); at >= 0 {
					t.Errorf("%s has the %s: %.200s", who, what, text[max(0, at-80):])
				}
			}
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ownCertificate returns a certificate for this machine, and its key.
func ownCertificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}))
}
