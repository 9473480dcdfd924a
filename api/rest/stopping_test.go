package rest_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestStopWhateverClientsDo checks that incomplete requests and bodies, silent
// connections and clients that do not read do not keep a host from stopping.
func TestStopWhateverClientsDo(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t)})
	silent := dial(t, h)
	half := dial(t, h)
	write(t, half, "POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\n")
	body := dial(t, h)
	write(t, body, head("/api/v1/predict/batch", 1<<20)+strings.Repeat(" ", 100<<10))
	short := dial(t, h)
	write(t, short, head("/api/v1/predict", 100)+"{")
	kept := dial(t, h)
	one := `{"model_id":"pima","data":` + goodRow + `}`
	write(t, kept, head("/api/v1/predict", len(one))+one)
	if resp, _ := answerOn(t, kept); resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d", resp.StatusCode)
	}
	testkit.Eventually(t, "all are connected", func() bool { return h.Server.OpenConnections() >= 5 })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // less than a request may take to arrive
	defer cancel()
	if err := h.Server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if n := h.Server.OpenConnections(); n != 0 {
		t.Errorf("%d connections are open", n)
	}
	for name, c := range map[string]net.Conn{"silent": silent, "half": half, "short": short, "kept": kept} {
		if _, err := io.ReadAll(c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v", name, err)
		}
	}
	resp, p := answerOn(t, body)
	if resp.StatusCode != http.StatusServiceUnavailable || p.ErrorType != api.ShuttingDown {
		t.Errorf("half a body: %d %+v", resp.StatusCode, p)
	}
}

// TestRunningRequestsEnd checks that a request that arrived completely before the
// stop is answered.
func TestRunningRequestsEnd(t *testing.T) {
	h, g := serveGated(t, testkit.Options{})
	c := dial(t, h)
	body := `{"model_id":"slow","data":[5]}`
	write(t, c, head("/api/v1/predict", len(body))+body)
	<-g.begun
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		ended <- h.Server.Shutdown(ctx)
	}()
	testkit.Eventually(t, "the port is closed", func() bool {
		other, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
		if err == nil {
			_ = other.Close()
		}
		return err != nil
	})
	g.passes <- struct{}{}
	if resp, _ := answerOn(t, c); resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("status %d, closing %v", resp.StatusCode, resp.Close)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// reusing is a client that keeps its connection until an answer ends it. It goes to
// another host only when its own refuses connections.
type reusing struct {
	addr    string
	current func() string
	conn    net.Conn
	in      *bufio.Reader
}

func (c *reusing) predict(request string) error {
	for c.conn == nil {
		conn, err := net.Dial("tcp", c.addr)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			c.addr = c.current()
		case err != nil:
			return err
		default:
			c.conn, c.in = conn, bufio.NewReader(conn)
		}
	}
	if _, err := io.WriteString(c.conn, request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.Close {
		_ = c.conn.Close()
		c.conn = nil
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// TestStopsLoseNothing checks that clients that reuse connections lose no request
// while their host is stopped, ten times in a row, without any drain. A request has
// all the time that it needs, which may be long on a busy machine.
func TestStopsLoseNothing(t *testing.T) {
	const clients, least, stops = 8, 10_000, 10
	patient := testkit.Options{REST: func(c *rest.Config) { c.Grace = 10 * time.Minute }}
	h, g := serveGated(t, patient)
	g.armed.Store(false)
	var current atomic.Value
	current.Store(strings.TrimPrefix(h.URL, "http://"))
	body := `{"model_id":"slow","data":[5]}`
	request := head("/api/v1/predict", len(body)) + body
	var sent, lost atomic.Int64
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range clients {
		load.Go(func() {
			c := &reusing{addr: current.Load().(string), current: func() string { return current.Load().(string) }}
			for {
				select {
				case <-stop:
					if c.conn != nil {
						_ = c.conn.Close()
					}
					return
				default:
				}
				if err := c.predict(request); err != nil {
					t.Errorf("request %d: %v", sent.Load(), err)
					lost.Add(1)
					c.conn = nil
				}
				sent.Add(1)
			}
		})
	}
	for n := range stops {
		testkit.Eventually(t, "requests are answered", func() bool { return sent.Load() >= int64((n+1)*least/stops) })
		next, g := serveGated(t, patient)
		g.armed.Store(false)
		current.Store(strings.TrimPrefix(next.URL, "http://"))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		if err := h.Server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		h = next
	}
	close(stop)
	load.Wait()
	t.Logf("%d requests over %d stops, %d lost", sent.Load(), stops, lost.Load())
}

// tardy is a listener that accepts nothing until its socket has been requested some
// times, or until it is closed.
type tardy struct {
	*net.TCPListener
	asked atomic.Int32
	once  sync.Once
	begin chan struct{}
}

func (l *tardy) Accept() (net.Conn, error) {
	<-l.begin
	return l.TCPListener.Accept()
}

func (l *tardy) SyscallConn() (syscall.RawConn, error) {
	if l.asked.Add(1) > 2 { // for the filter, and for the check whether anybody waits
		l.once.Do(func() { close(l.begin) })
	}
	return l.TCPListener.SyscallConn()
}

func (l *tardy) Close() error {
	l.once.Do(func() { close(l.begin) })
	return l.TCPListener.Close()
}

// TestStopAcceptsWhoWaits checks that a client whose connection is established but
// not accepted when the host stops is served.
func TestStopAcceptsWhoWaits(t *testing.T) {
	var how net.ListenConfig
	how.SetMultipathTCP(false)
	plain, err := how.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := &tardy{TCPListener: plain.(*net.TCPListener), begin: make(chan struct{})}
	s := withoutModels(t)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ln, nil) }()
	testkit.Eventually(t, "it serves", s.Serves)
	c, err := net.Dial("tcp", plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	write(t, c, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if resp, _ := answerOn(t, c); resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
