package rest_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// anyCertificate is for clients, because the tests' servers have no trusted
// certificate.
var anyCertificate = &tls.Config{InsecureSkipVerify: true}

// serveTLS starts a host without models that speaks TLS, and returns its address.
func serveTLS(t *testing.T, connections int) (*testkit.Host, string) {
	t.Helper()
	other := httptest.NewUnstartedServer(nil)
	other.StartTLS()
	own := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: other.TLS.Certificates}
	other.Close()
	h := testkit.Serve(t, testkit.Options{Dir: t.TempDir(), TLS: own, REST: func(c *rest.Config) { c.Connections = connections }})
	return h, strings.TrimPrefix(h.URL, "https://")
}

// TestHandshakesMakeRoom checks that a connection in a TLS handshake, or without a
// request after it, is idle, and makes room for others beyond the bound.
func TestHandshakesMakeRoom(t *testing.T) {
	const most = 8
	h, address := serveTLS(t, most)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: anyCertificate, DisableKeepAlives: true}}
	for _, c := range []struct {
		name  string
		begin func(net.Conn)
	}{
		{"half a handshake", func(c net.Conn) { _, _ = c.Write([]byte{22, 3, 1}) }},
		{"a handshake", func(c net.Conn) { _ = tls.Client(c, anyCertificate).Handshake() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 3 * most {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				c.begin(conn) // it may have to make room already
			}
			resp, err := client.Get(h.URL + "/health")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if n := h.Server.OpenConnections(); resp.StatusCode != http.StatusOK || n > most {
				t.Errorf("status %d, %d connections", resp.StatusCode, n)
			}
		})
	}
}

// TestStopAfterHandshake checks that a client that has finished its TLS handshake
// when the host stops has a moment for its request, like others that have just
// connected.
func TestStopAfterHandshake(t *testing.T) {
	const tries = 20 // a slow machine may miss the moment, but not each time
	for i := range tries {
		h, address := serveTLS(t, 0)
		before := anyCertificate.Clone()
		before.MaxVersion = tls.VersionTLS12 // the server ends the handshake
		c, err := tls.Dial("tcp", address, before)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		h.Server.Hurry()
		_, _ = io.WriteString(c, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("status %d", resp.StatusCode)
			}
			return
		}
		t.Logf("try %d: %v", i, err)
	}
	t.Error("no request was answered")
}
