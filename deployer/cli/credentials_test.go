package cli

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate makes a client certificate that ends at a time, and its key, as PEM.
func certificate(t *testing.T, ends time.Time) (cert, key []byte, parsed *x509.Certificate) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "alice"}, NotAfter: ends, IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	if parsed, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: text}), parsed
}

// TestCredentials checks that commands say in words that the cluster does not accept the
// credentials of a kubeconfig, whoever finds out: the command, the handshake or the API
// server.
func TestCredentials(t *testing.T) {
	now := time.Now()
	expiredCert, expiredKey, parsed := certificate(t, now.Add(-time.Hour))
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	unauthorized := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(rw, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}`)
	})
	for name, c := range map[string]struct {
		verify bool
		user   string
		clock  time.Time // of the command
		want   string
	}{
		"a token that is not accepted":  {user: "token: old", clock: now, want: "does not accept your credentials"},
		"a certificate that is expired": {user: "certificate", clock: now, want: "(alice) expired at"},
		"a clock that is behind":        {user: "certificate", verify: true, clock: now.Add(-48 * time.Hour), want: "says that the client certificate of the kubeconfig has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(unauthorized)
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			if c.verify {
				s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
			}
			s.StartTLS()
			defer s.Close()
			user := c.user
			if user == "certificate" {
				user = "client-certificate-data: " + base64.StdEncoding.EncodeToString(expiredCert) + "\n    client-key-data: " + base64.StdEncoding.EncodeToString(expiredKey)
			}
			file := filepath.Join(t.TempDir(), "config")
			text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{name: x, context: {cluster: x, user: x}}]\nclusters: [{name: x, cluster: {server: %s, insecure-skip-tls-verify: true}}]\nusers:\n- name: x\n  user:\n    %s\n", s.URL, user)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, command := range Commands(Options{Out: io.Discard, Err: io.Discard, Now: func() time.Time { return c.clock }, Image: "x:1"}) {
				args, asked := map[string][]string{"list": {}, "status": {"m-staging-1"}, "deploy": {"m@1.0.0"}, "environments": {}, "install": {}}[command.Name()]
				if !asked {
					continue
				}
				var out bytes.Buffer
				command.SetArgs(append(args, "--kubeconfig", file))
				command.SetOut(&out)
				command.SetErr(&out)
				command.SilenceUsage, command.SilenceErrors = true, true
				if err := command.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v", command.Name(), err)
				}
			}
		})
	}
}
