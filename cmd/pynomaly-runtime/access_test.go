package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign makes a certificate. A nil authority signs its own.
func (a *authority) sign(t *testing.T, cn string) (*authority, []byte, []byte) {
	t.Helper()
	key := newKey(t)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: cn}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: a == nil, BasicConstraintsValid: true, DNSNames: []string{"localhost"}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	by := &authority{c, key}
	if a != nil {
		by = a
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &authority{c, key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

// TestAccess starts a host with keys, tokens, client certificates, limits, an audit
// and an address for operators, and changes all of them while it runs.
func TestAccess(t *testing.T) {
	models, dir := t.TempDir(), t.TempDir()
	testkit.CopyModel(t, models, "pima-lof", "own", "1.0.0", nil)
	testkit.CopyModel(t, models, "pima-lof", "other", "1.0.0", nil)
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, text []byte) {
		t.Helper()
		if err := os.WriteFile(at(name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ca, caPEM, _ := (*authority)(nil).sign(t, "ca")
	_, cert, key := ca.sign(t, "host")
	_, clientPEM, clientKey := ca.sign(t, "scraper")
	write("ca.pem", caPEM)
	write("cert.pem", cert)
	write("key.pem", key)
	issuer := newKey(t)
	write("jwks.json", jwks(t, issuer, "a"))
	admins := testkit.FreeAddress(t)
	configured := func(rates string) []byte {
		return []byte("server: {host: 127.0.0.1, port: 0, drain: 0s, environment: production, tls: {cert: " + at("cert.pem") + ", key: " + at("key.pem") + ", client_ca: " + at("ca.pem") + "}}\n" +
			"models: {dir: " + models + "}\nadmin: {listen: \"" + admins + "\"}\naudit: {file: " + at("audit.log") + ", required: true}\n" +
			"auth:\n  keys: " + at("keys.yaml") + "\n  certificates: [{match: CN=scraper, role: viewer}]\n" +
			"  jwt: [{issuer: i, audience: a, jwks: " + at("jwks.json") + ", algorithms: [ES256], claims: {models: models}, roles: {looks: viewer}}]\n" +
			"limits: {enabled: true, rates: {predict: " + rates + "}}\n")
	}
	write("plugins.yaml", configured("100/minute"))
	create := func(args ...string) (id, key string) {
		t.Helper()
		out, _, err := command(t, nil, append([]string{"key", "create", "--file", at("keys.yaml")}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		key = strings.TrimSpace(out)
		return strings.Split(key, "_")[1], key
	}
	_, admin := create("--role", "admin", "--name", "boss")
	viewerID, viewer := create("--role", "viewer", "--models", "own")
	p := startProcess(t, "serve", "--config", at("plugins.yaml"), "--state-dir", stateForTests(t))
	p.next(`"message":"serving operators"`)
	go p.drain()
	_, port, _ := strings.Cut(p.address, ":")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(caPEM)
	pair, err := tls.X509KeyPair(clientPEM, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, url, body string, with ...string) (int, string) {
		t.Helper()
		shown := &tls.Config{RootCAs: roots, ServerName: "localhost"}
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		for _, w := range with {
			switch {
			case w == "certificate":
				shown.Certificates = []tls.Certificate{pair}
			case strings.HasPrefix(w, "pyn_"):
				req.Header.Set("X-API-Key", w)
			case w != "":
				req.Header.Set("Authorization", "Bearer "+w)
			}
		}
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: shown, DisableKeepAlives: true}}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	host := "https://localhost:" + port
	list, load, predict := host+"/api/v1/models", host+"/api/v1/models/own/load", host+"/api/v1/predict"
	row := `{"model_id":"own","data":[8,155,62,26,495,34,0.543,46]}`
	token := func(key *ecdsa.PrivateKey, kid string) string {
		t.Helper()
		j := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": "i", "aud": "a", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix(), "roles": "looks", "models": "own"})
		j.Header["kid"] = kid
		text, err := j.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	testkit.Eventually(t, "ready", func() bool { status, _ := ask("GET", host+"/ready", ""); return status == 200 })
	for _, c := range []struct {
		method, url, body string
		with              []string
		want              int
		has               string
	}{
		{"GET", list, "", nil, 401, "Unauthorized"}, {"GET", host + "/metrics", "", nil, 200, ""},
		{"GET", list, "", []string{viewer}, 200, `"own"`}, {"GET", host + "/api/v1/models/other", "", []string{viewer}, 404, "ModelNotFound"},
		{"POST", load, "", []string{viewer}, 403, "Forbidden"}, {"POST", load, "", []string{admin}, 200, ""}, {"POST", predict, row, []string{viewer}, 200, "prediction"},
		{"GET", list, "", []string{token(issuer, "a")}, 200, `"own"`}, {"GET", list, "", []string{token(newKey(t), "a")}, 401, "Unauthorized"},
		{"GET", list, "", []string{"certificate"}, 200, `"other"`}, {"POST", load, "", []string{"certificate"}, 403, ""}, {"GET", list, "", []string{"certificate", admin}, 401, "different people"},
		{"GET", "http://" + admins + "/config", "", nil, 401, ""}, {"GET", "http://" + admins + "/config", "", []string{viewer}, 403, ""},
		{"GET", "http://" + admins + "/config", "", []string{admin}, 200, `"auth.keys"`}, {"GET", host + "/config", "", []string{admin}, 404, "NotFound"}, {"GET", host + "/debug/pprof/", "", []string{admin}, 404, ""},
	} {
		if status, text := ask(c.method, c.url, c.body, c.with...); status != c.want || !strings.Contains(text, c.has) {
			t.Errorf("%s %s with %.12q: %d %s", c.method, c.url, c.with, status, text)
		}
	}
	// Keys and the issuer's keys change while requests run.
	if _, _, err := command(t, nil, "key", "revoke", viewerID, "--file", at("keys.yaml")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the key is revoked", func() bool { status, _ := ask("GET", list, "", viewer); return status == 401 })
	next := newKey(t)
	write("jwks.json", jwks(t, next, "b"))
	testkit.Eventually(t, "the issuer's key is another one", func() bool { status, _ := ask("GET", list, "", token(next, "b")); return status == 200 })
	// A configuration that cannot be applied changes nothing.
	write("plugins.yaml", append(configured("1/hour"), "#"...))
	write("key.pem", []byte("none"))
	signalTo(t, p, syscall.SIGHUP)
	testkit.Eventually(t, "the reload is refused", func() bool {
		return strings.Contains(read(t, at("audit.log")), `"action":"reload","outcome":"refused"`)
	})
	if status, text := ask("POST", predict, row, admin); status != 200 {
		t.Errorf("%d %s", status, text)
	}
	write("key.pem", key)
	signalTo(t, p, syscall.SIGHUP)
	testkit.Eventually(t, "the rate is lower", func() bool { status, _ := ask("POST", predict, row, admin); return status == 429 })
	p.stop()
	out, _, err := command(t, nil, "audit", "verify", at("audit.log"))
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{`"action":"start"`, `"principal":"boss"`, `"outcome":"begun"`, `"outcome":"denied"`, `"action":"keys_changed"`, `"action":"reload","outcome":"ok"`, "refused: token_signature", "ok: /config"} {
		if !strings.Contains(read(t, at("audit.log")), want) {
			t.Errorf("the audit lacks %s: %s", want, out)
		}
	}
	for _, secret := range []string{admin, viewer, strings.Split(admin, "_")[2]} {
		if strings.Contains(strings.Join(p.seen, "\n")+read(t, at("audit.log"))+read(t, at("keys.yaml")), secret) {
			t.Error("a key was written")
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

func jwks(t *testing.T, key *ecdsa.PrivateKey, kid string) []byte {
	t.Helper()
	jwk, err := jwkset.NewJWKFromKey(key.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid, USE: jwkset.UseSig}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{jwk.Marshal()}})
	if err != nil {
		t.Fatal(err)
	}
	return text
}
