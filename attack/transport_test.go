package attack

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pair tls.Certificate
}

// issue makes a certificate, signed by the authority or, if that is nil, by itself.
func (a *authority) issue(t *testing.T, cn string, until time.Time) *authority {
	t.Helper()
	key := newEC()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: cn}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until, IsCA: a == nil, BasicConstraintsValid: true,
		DNSNames: []string{"models.test", "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	by := &authority{cert: c, key: key}
	if a != nil {
		by = a
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by.cert, key.Public(), by.key)
	check(t, err)
	c, err = x509.ParseCertificate(der)
	check(t, err)
	return &authority{c, key, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
}

// files writes the certificate and its key.
func (a *authority) files(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(a.key)
	check(t, err)
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	write(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})))
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	return cert, key
}

// secure is a host with TLS that takes client certificates.
type secure struct {
	*hosttest.Host
	ca *authority
}

func startSecure(t *testing.T, s *site) *secure {
	t.Helper()
	p := hosttest.NewPlace(t)
	testkit.CopyModel(t, p.Models, "ecod-c", "good", "1.0.0", nil)
	out := &secure{ca: (*authority)(nil).issue(t, "ca", time.Now().Add(time.Hour))}
	ca, _ := out.ca.files(t, p.Root, "ca")
	cert, key := out.ca.issue(t, "host", time.Now().Add(time.Hour)).files(t, p.Root, "host")
	out.Host = hosttest.Start(t, p, hosttest.Options{Config: fmt.Sprintf("server: {environment: production, hosts: [models.test], tls: {cert: %s, key: %s, client_ca: %s}}\nauth: {keys: %s, certificates: [{match: CN=scraper, role: viewer}]}\n", cert, key, ca, s.keys)})
	out.Eventually("the host serves", func() bool { return out.Logged(`"message":"serving"`) })
	return out
}

// ask sends a request over TLS.
func (h *secure) ask(t *testing.T, text string, change func(c *tls.Config)) (*answer, error) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(h.ca.cert)
	config := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	change(config)
	c, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", h.Address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	check(t, c.SetDeadline(time.Now().Add(hosttest.Hangs)))
	if _, err := io.WriteString(c, text); err != nil {
		return nil, err
	}
	return read(bufio.NewReader(c))
}

// transport returns attacks on TLS and on client certificates.
func transport() []attack {
	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	list := strings.Replace(get(modelsPath), "127.0.0.1", "models.test", 1)
	// shows asks with a certificate; want 0 means that the connection fails.
	shows := func(name, must, text string, want int, make func(t *testing.T, s *site) *authority) attack {
		return attack{name: name, must: must, run: func(t *testing.T, s *site) string {
			cert := make(t, s)
			a, err := s.secure.ask(t, strings.ReplaceAll(text, "$viewer", s.viewer), func(c *tls.Config) {
				// Sent whatever authorities the host names.
				c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert.pair, nil }
			})
			switch {
			case want == 0 && err == nil:
				t.Errorf("%v", a)
			case want != 0 && (err != nil || a.status != want):
				t.Errorf("%v, %v", a, err)
			}
			if want == 0 {
				return "the handshake fails"
			}
			return a.String()
		}}
	}
	by := func(cn string) func(t *testing.T, s *site) *authority {
		return func(t *testing.T, s *site) *authority { return s.secure.ca.issue(t, cn, soon) }
	}
	return []attack{
		{name: "versions before 1.2", must: "the handshake fails", run: func(t *testing.T, s *site) string {
			for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
				if _, err := s.secure.ask(t, list, func(c *tls.Config) { c.MinVersion, c.MaxVersion = v, v }); err == nil {
					t.Errorf("%x is spoken", v)
				}
			}
			return "it fails"
		}},
		{name: "suites without forward secrecy", must: "the handshake fails", run: func(t *testing.T, s *site) string {
			_, err := s.secure.ask(t, list, func(c *tls.Config) {
				c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}
			})
			if err == nil {
				t.Error("one is spoken")
			}
			return "it fails"
		}},
		{name: "plain HTTP, with a good key", must: "not answered as a request", run: func(t *testing.T, s *site) string {
			c, err := net.Dial("tcp", s.secure.Address)
			check(t, err)
			defer c.Close()
			_, _ = io.WriteString(c, get(modelsPath, shown(s.viewer)))
			got, _ := io.ReadAll(c)
			if strings.Contains(string(got), "200 OK") || strings.Contains(string(got), "good") {
				t.Errorf("%.300s", got)
			}
			return "closed"
		}},
		{name: "a browser that has been there over TLS", must: "it is told to use nothing else", run: func(t *testing.T, s *site) string {
			a, err := s.secure.ask(t, list, func(*tls.Config) {})
			check(t, err)
			v := a.header.Get("Strict-Transport-Security")
			if v != "max-age=31536000" || a.status != http.StatusUnauthorized {
				t.Errorf("%v %v", a, a.header)
			}
			return "Strict-Transport-Security: " + v
		}},
		shows("the certificate of a viewer", "200", list, 200, by("scraper")),
		shows("the certificate of a viewer, to load a model", "403", strings.Replace(post(modelsPath+"/good/load", ""), "127.0.0.1", "models.test", 1), 403, by("scraper")),
		shows("the certificate of a viewer beside another's key", "401: two people", strings.Replace(list, "\r\n\r\n", "\r\n"+asViewer+"\r\n", 1), 401, by("scraper")),
		shows("a certificate of another name", "401", list, 401, by("scraper2")), shows("a certificate whose name has the viewer's in it", "401", list, 401, by("x,CN=scraper")), shows("a certificate in capitals", "401", list, 401, by("SCRAPER")),
		shows("the viewer's name by another authority", "the handshake fails", list, 0, func(t *testing.T, _ *site) *authority {
			return (*authority)(nil).issue(t, "ca", soon).issue(t, "scraper", soon)
		}),
		shows("the viewer's name, signed by itself", "the handshake fails", list, 0, func(t *testing.T, _ *site) *authority { return (*authority)(nil).issue(t, "scraper", soon) }),
		shows("the viewer's name, expired", "the handshake fails", list, 0, func(t *testing.T, s *site) *authority { return s.secure.ca.issue(t, "scraper", past) }),
	}
}
