package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// writePair writes a certificate for 127.0.0.1 with a serial number, and its key.
func writePair(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCertificateIsReloaded checks that a new pair is used after SIGHUP, and with
// --reload by itself, and that an unreadable pair changes nothing.
func TestCertificateIsReloaded(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePair(t, cert, key, 1)
	p, _ := startHost(t, "--tls-cert", cert, "--tls-key", key, "--reload", "--drain", "0s")
	p.next(`"message":"serving"`)
	serial := func() int64 {
		t.Helper()
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
		conn, err := d.DialContext(t.Context(), "tcp", p.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Errorf("serial %d", got)
	}
	writePair(t, cert, key, 2)
	signalTo(t, p, syscall.SIGHUP)
	p.next(`"message":"configuration reloaded"`)
	if got := serial(); got != 2 {
		t.Errorf("after SIGHUP: serial %d", got)
	}
	writePair(t, cert, key, 3)
	p.next(`"message":"configuration reloaded"`)
	if got := serial(); got != 3 {
		t.Errorf("after the files have changed: serial %d", got)
	}
	if err := os.WriteFile(cert, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	signalTo(t, p, syscall.SIGHUP)
	p.next("the TLS certificate was not applied")
	if got := serial(); got != 3 {
		t.Errorf("after a bad file: serial %d", got)
	}
	signalTo(t, p, syscall.SIGTERM)
	p.end()
}

// TestReloadIsAllOrNothing checks that nothing of a configuration with an unreadable
// certificate is applied, and everything of one with certificates in other files.
func TestReloadIsAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	name := func(file string) string { return filepath.Join(dir, file) }
	writePair(t, name("cert1"), name("key1"), 1)
	writePair(t, name("cert2"), name("key2"), 2)
	p, _ := startHost(t, "--config", writeConfig(t, name("plugins.yaml"), name("cert1"), name("key1"), ""), "--drain", "0s")
	p.next(`"message":"serving"`)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	ask := func(path string) (text string, serial int64) {
		t.Helper()
		resp, err := client.Get("https://" + p.address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body), resp.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	testkit.Eventually(t, "ready", func() bool { text, _ := ask("/ready"); return strings.Contains(text, `"ready":true`) })
	for _, c := range []struct {
		cert, alias, logged string
		successful          string
		serial              int64
		aliased             bool
	}{
		{"cert2", "stable", `"message":"configuration reloaded"`, "1", 2, true},
		{"none", "other", "certificates: the TLS certificate was not applied", "0", 2, false},
		{"", "other", "server.tls can be switched on or off only at the next start", "0", 2, false},
		{"cert1", "other", `"message":"configuration reloaded"`, "1", 1, true},
	} {
		key := strings.Replace(c.cert, "cert", "key", 1)
		if c.cert != "" {
			c.cert, key = name(c.cert), name(key)
		}
		writeConfig(t, name("plugins.yaml"), c.cert, key, c.alias)
		signalTo(t, p, syscall.SIGHUP)
		p.next(c.logged)
		text, serial := ask("/api/v1/models/pima-lof")
		if serial != c.serial || strings.Contains(text, `"`+c.alias+`":"1.0.0"`) != c.aliased {
			t.Errorf("%+v: serial %d, %s", c, serial, text)
		}
		if text, _ = ask("/metrics"); !strings.Contains(text, "\nconfig_last_reload_successful "+c.successful+"\n") {
			t.Errorf("%+v: config_last_reload_successful is not %s", c, c.successful)
		}
	}
	signalTo(t, p, syscall.SIGTERM)
	p.end()
}

// writeConfig writes a configuration with a certificate and an alias of pima-lof, if
// they are given, and returns its file.
func writeConfig(t *testing.T, file, cert, key, alias string) string {
	t.Helper()
	text := "server: {host: 127.0.0.1}\n"
	if cert != "" {
		text = fmt.Sprintf("server: {tls: {cert: %q, key: %q}}\n", cert, key)
	}
	if alias != "" {
		text += fmt.Sprintf("models: {aliases: {pima-lof: {names: {%s: 1.0.0}}}}\n", alias)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestLibraryThatWasNamed checks that a named library must exist.
func TestLibraryThatWasNamed(t *testing.T) {
	_, _, err := command(t, nil, "serve", "--models", t.TempDir(), "--port", "0", "--onnxruntime", "/does/not/exist.so")
	if err == nil || !strings.Contains(err.Error(), "--onnxruntime") || !strings.Contains(err.Error(), "/does/not/exist.so") {
		t.Errorf("%v", err)
	}
}

// TestOpenAddress checks a host without configured credentials on an address that
// other machines reach: it makes a key, prints it once and requires it, and the key
// allows everything.
func TestOpenAddress(t *testing.T) {
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "mammography-gmm", "m", "1.0.0", nil)
	for _, c := range []struct {
		args []string
		want string // in a warning
	}{
		{nil, "needs the admin key of this run"}, {[]string{"--insecure"}, "everybody may do everything"}, {[]string{"--auth", "off"}, "everybody may do everything"},
	} {
		p := startProcess(t, append([]string{"serve", "--host", "0.0.0.0", "--port", "0", "--models", dir, "--drain", "0s", "--state-dir", stateForTests(t)}, c.args...)...)
		p.next(`"message":"serving"`)
		seen := strings.Join(p.seen, "\n")
		if !strings.Contains(seen, c.want) || strings.Contains(seen, `"admin_key"`) != (c.args == nil) {
			t.Errorf("%q: it does not say %q", c.args, c.want)
		}
		key := regexp.MustCompile(`pyn_[a-z2-7]{8}_[a-z2-7]{52}`).FindAllString(seen, -1)
		if (c.args == nil) != (len(key) == 1) {
			t.Fatalf("%q: %d keys are printed", c.args, len(key))
		}
		go p.drain()
		_, port, _ := net.SplitHostPort(p.address)
		ask := func(request string, header ...string) int {
			t.Helper()
			method, path, _ := strings.Cut(request, " ")
			req, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:"+port+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Forwarded-For", "192.0.2.1")
			for i := 0; i < len(header); i += 2 {
				req.Header.Set(header[i], header[i+1])
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			return resp.StatusCode
		}
		for request, open := range map[string]bool{
			"GET /health": true, "GET /metrics": true, "GET /api/v1/models": false, "POST /api/v1/models/m/load": false, "DELETE /api/v1/models/m/unload": false, "GET /openapi.json": false,
		} {
			if got := ask(request); (got == http.StatusUnauthorized) != (c.args == nil && !open) {
				t.Errorf("%q: %s is answered %d", c.args, request, got)
			}
			if len(key) == 0 {
				continue
			}
			for _, header := range [][]string{{"X-API-Key", key[0]}, {"Authorization", "Bearer " + key[0]}} {
				if got := ask(request, header...); got == http.StatusUnauthorized || got == http.StatusForbidden {
					t.Errorf("%s with %s is answered %d", request, header[0], got)
				}
			}
		}
		p.stop()
	}
	_, _, err := command(t, nil, "serve", "--host", "0.0.0.0", "--port", "0", "--models", dir, "--env", "production", "--drain", "0s")
	if err == nil || !strings.Contains(err.Error(), "key create") {
		t.Errorf("in production: %v", err)
	}
}
