package rest_test

import (
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// refusing is a listener that fails at first, like that of a process without
// descriptors.
type refusing struct {
	net.Listener
	errs []error
}

func (l *refusing) Accept() (net.Conn, error) {
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: err}
	}
	return l.Listener.Accept()
}

// withoutModels returns a server that has no models and does not serve yet.
func withoutModels(t *testing.T) *rest.Server {
	t.Helper()
	registry, err := registry.New(registry.Config{Dir: t.TempDir(), CacheSize: 1, Now: time.Now, Random: func() float64 { return 0 }, Log: discard, Observe: testkit.Silent{}}, nil, batching.NewCalls(1))
	if err != nil {
		t.Fatal(err)
	}
	s, err := rest.New(rest.Config{Timeout: time.Minute, BodyLimit: 1 << 20, MaxRows: 1, Now: time.Now, Log: discard}, registry, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAcceptGoesOn checks that only a permanent error ends the server.
func TestAcceptGoesOn(t *testing.T) {
	serve := func(errs ...error) (*rest.Server, net.Addr, chan error) {
		t.Helper()
		s := withoutModels(t)
		ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(&refusing{Listener: ln, errs: errs}, nil) }()
		return s, ln.Addr(), ended
	}
	s, addr, ended := serve(syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED)
	resp, err := http.Get("http://" + addr.String() + "/health")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, _, ended = serve(syscall.EBADF); <-ended == nil {
		t.Error("a listener that is broken for good is no error")
	}
}

// TestConnectionsAreBounded checks that beyond the bound idle connections make room
// for new ones, and that a client that is being answered keeps its connection.
func TestConnectionsAreBounded(t *testing.T) {
	h, g := serveGated(t, testkit.Options{REST: func(c *rest.Config) { c.Connections = 8 }})
	busy := dial(t, h)
	write(t, busy, head("/api/v1/predict", 29)+`{"model_id":"slow","data":[5]}`[:29])
	_ = busy.Close()
	busy = dial(t, h)
	body := `{"model_id":"slow","data":[5]}`
	write(t, busy, head("/api/v1/predict", len(body))+body)
	<-g.begun
	for range 50 {
		dial(t, h)
	}
	testkit.Eventually(t, "there is room", func() bool {
		resp, err := http.Get(h.URL + "/health")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK && h.Server.OpenConnections() <= 8
	})
	g.passes <- struct{}{}
	if resp, _ := answerOn(t, busy); resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// TestUsedConnectionsAreKept checks that many new connections do not end one that is
// used, although it is idle between its requests.
func TestUsedConnectionsAreKept(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: t.TempDir(), REST: func(c *rest.Config) { c.Connections = 8 }})
	used := dial(t, h)
	for range 50 {
		others := dial(t, h)
		write(t, others, "GET /health HTTP/1.1\r\n") // and no more
		write(t, used, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if resp, _ := answerOn(t, used); resp.StatusCode != http.StatusOK {
			t.Fatalf("status %d", resp.StatusCode)
		}
	}
}

// TestLoadsAreAnswered checks that the connection of a long load does not count as
// idle, whatever body the request had.
func TestLoadsAreAnswered(t *testing.T) {
	h, g := serveGated(t, testkit.Options{Models: func(c *registry.Config) { c.Lazy = true }})
	g.opens = make(chan struct{})
	g.armed.Store(false)
	for _, body := range []string{"", "{}"} {
		c := dial(t, h)
		write(t, c, head("/api/v1/models/slow/load", len(body))+body)
		g.opens <- struct{}{} // it has begun
		if n := h.Server.Answering(); n != 1 {
			t.Errorf("with the body %q %d requests are being answered", body, n)
		}
		g.opens <- struct{}{}
		if resp, _ := answerOn(t, c); resp.StatusCode != http.StatusOK {
			t.Errorf("status %d", resp.StatusCode)
		}
		_ = c.Close()
		testkit.Eventually(t, "its connection is closed", func() bool { return h.Server.OpenConnections() == 0 })
		if _, err := h.Registry.Unload("slow", ""); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLastConnectionIsServed checks that each client that gets the only free
// connection is served: it makes room only for a client that has already connected.
func TestLastConnectionIsServed(t *testing.T) {
	h, g := serveGated(t, testkit.Options{REST: func(c *rest.Config) { c.Connections = 2 }})
	busy := dial(t, h)
	body := `{"model_id":"slow","data":[5]}`
	write(t, busy, head("/api/v1/predict", len(body))+body)
	<-g.begun
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for i := range 200 {
		resp, err := client.Get(h.URL + "/health")
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		_ = resp.Body.Close()
	}
	g.passes <- struct{}{}
	if resp, _ := answerOn(t, busy); resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// TestSlowSendersMakeRoom checks that clients that hold all connections with
// incomplete requests give way to one that sends its request.
func TestSlowSendersMakeRoom(t *testing.T) {
	const most = 8
	h, _ := serveGated(t, testkit.Options{REST: func(c *rest.Config) { c.Connections = most }})
	for i := range most {
		slow := dial(t, h)
		if i%2 == 0 {
			write(t, slow, "GET /health HTTP/1.1\r\nHost: loc")
		} else {
			write(t, slow, head("/api/v1/predict", 100)+`{"model_id":`)
		}
	}
	resp, err := http.Get(h.URL + "/health")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}
