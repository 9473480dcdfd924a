package rest_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// serveEmpty starts a server without models.
func serveEmpty(t *testing.T, config *tls.Config) (s *rest.Server, reg *prometheus.Registry, addr string, ended chan error) {
	t.Helper()
	registry, err := registry.New(registry.Config{Dir: t.TempDir(), CacheSize: 1, Now: time.Now, Random: func() float64 { return 0 }, Log: discard, Observe: testkit.Silent{}}, nil, batching.NewCalls(1))
	if err != nil {
		t.Fatal(err)
	}
	reg = prometheus.NewRegistry()
	if s, err = rest.New(rest.Config{Timeout: time.Minute, BodyLimit: 1 << 20, MaxRows: 1, Now: time.Now, Log: discard}, registry, reg); err != nil {
		t.Fatal(err)
	}
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() { ended <- s.Serve(ln, config) }()
	return s, reg, ln.Addr().String(), ended
}

// heldBy returns how many bytes of requests and answers a server reports.
func heldBy(t *testing.T, reg *prometheus.Registry) float64 {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range all {
		if family.GetName() == "host_inflight_bytes" {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("there is no host_inflight_bytes")
	return 0
}

// TestWhatIsOnItsWay checks that requests under way at a stop have a moment to
// arrive: a body whose headers came before the stop, and the first request on a
// connection after its handshake. On a busy machine the moment may pass, so one of
// several tries must succeed.
func TestWhatIsOnItsWay(t *testing.T) {
	ts := httptest.NewUnstartedServer(nil)
	ts.StartTLS()
	pair := &tls.Config{Certificates: ts.TLS.Certificates, MinVersion: tls.VersionTLS12}
	ts.Close()
	const tries = 50
	for _, c := range []struct {
		name         string
		server       *tls.Config
		before, then string
		want         int
	}{
		{"a body", nil, head("/api/v1/predict", 256<<10) + strings.Repeat(" ", 256<<10-1), "x", http.StatusBadRequest},
		{"a request after a handshake", pair, "", "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", http.StatusOK},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got string
			for range tries {
				var status int
				if status, got = askWhileStopping(t, c.server, c.before, c.then); status == c.want {
					return
				}
			}
			t.Errorf("%d tries, the last: %s", tries, got)
		})
	}
}

// askWhileStopping sends one part of a request before a server's port is closed and
// the other part after it, and returns the answer's status and a description for the
// log.
func askWhileStopping(t *testing.T, config *tls.Config, before, then string) (status int, known string) {
	t.Helper()
	s, reg, addr, ended := serveEmpty(t, config)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if config != nil {
		secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		if err := secure.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		conn = secure
	}
	write(t, conn, before)
	testkit.Eventually(t, "the server has what was sent", func() bool {
		return s.OpenConnections() == 1 && (before == "" || heldBy(t, reg) > 0)
	})
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(t.Context()) }()
	testkit.Eventually(t, "the port is closed", func() bool {
		other, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			_ = other.Close()
		}
		return err != nil
	})
	_, _ = io.WriteString(conn, then) // the server may have closed it
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil {
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		status, known = resp.StatusCode, fmt.Sprintf("status %d %s", resp.StatusCode, text)
	} else {
		known = err.Error()
	}
	_ = conn.Close()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return status, known
}
