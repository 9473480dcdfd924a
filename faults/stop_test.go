package faults

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

func stopScenarios() []scenario {
	return []scenario{
		{
			id: "stop-unfinished", does: "SIGTERM with half a request, half a body and idle connections",
			must: "it ends with the drain, with code 0", run: stopUnfinished,
		},
		{
			id: "stop-slow-readers", does: "SIGTERM with clients that do not read their answers",
			must: "it ends at the bound for running requests", run: stopSlowReaders,
		},
		{
			id: "stop-idle", does: "SIGTERM to an idle host in development",
			must: "it ends without draining for 5 s", run: stopIdle,
		},
		{
			id: "stop-keep-alive", does: "ten stops under load by clients that reuse connections, 10,000 requests (short form: 3 stops)",
			must: "no request is lost", run: stopKeepAlive,
		},
	}
}

func stopUnfinished(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	args := []string{"--request-timeout", "10m", "--shutdown-timeout", "10m", "--env", "production"}
	h := start(t, p, options{Args: args}).ready()
	usual := h.Stop(hangs)
	h = start(t, p, options{Args: args}).ready()
	const head = "POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	for _, begin := range []string{
		"", "POST /api/v1/pre", head, head + "Content-Length: 100\r\n\r\n{\"model", head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"mod",
		"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		c := dial(t, h.Address, 1)[0]
		if _, err := io.WriteString(c, begin); err != nil {
			t.Fatal(err)
		}
	}
	h.serving(20)
	took := h.Stop(hangs)
	r.note("drain 1 s, requests have 10 minutes: ended after %s, without clients after %s", hosttest.MS(took), hosttest.MS(usual))
	if took > 5*usual+20*time.Second { // waiting for a request's rest would take 30 s
		t.Errorf("it waited %v for clients", took)
	}
}

func stopSlowReaders(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	h := start(t, p, options{Args: []string{"--request-timeout", "10m", "--shutdown-timeout", "2s"}}).ready()
	many := `{"model_id": "good", "data": [` + strings.Repeat(pima+",", 8000) + pima + `]}`
	for range 4 {
		c := dial(t, h.Address, 1)[0]
		_ = c.(*net.TCPConn).SetReadBuffer(4096) // and nothing is read
		if _, err := fmt.Fprintf(c, "POST /api/v1/predict/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(many), many); err != nil {
			t.Fatal(err)
		}
	}
	rows := func() bool { return h.Metric("model_rows_total") >= 4*8001 }
	h.Eventually("the batches have been scored", rows)
	h.Signal(syscall.SIGTERM)
	r.note("drain 1 s, bound 2 s: ended after %s", hosttest.MS(h.Wait(hangs)))
}

func stopIdle(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	const tries = 5 // on a machine that is busy with something else
	for n := 1; ; n++ {
		took := start(t, p, options{Drain: usualDrain}).ready().Stop(hangs)
		if took < 5*time.Second {
			r.note("ended after %s", hosttest.MS(took))
			return
		}
		if n == tries {
			t.Fatalf("it drained for %v, and in each of %d stops for 5 s or more", took, tries)
		}
	}
}

// reuser is a client that keeps its connection until the host closes it.
type reuser struct {
	address func() string // of the host that accepts new connections
	conn    net.Conn
	reader  *bufio.Reader
}

func (c *reuser) ask() error {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.address(), patience)
		if err != nil {
			return err
		}
		c.conn, c.reader = conn, bufio.NewReader(conn)
	}
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c.conn, "POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(goodBody), goodBody); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", resp.Status, text)
	case resp.Close:
		c.leave()
	}
	return nil
}

func (c *reuser) leave() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

func stopKeepAlive(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	stops, all := pick(3, 10), pick(int64(2000), 10000)
	var current atomic.Pointer[host]
	begin := func() { // production drains; two hosts must not share the state directory
		p := place{Root: p.Root, Models: p.Models, State: hosttest.NewPlace(t).State, Tmp: p.Tmp}
		current.Store(start(t, p, options{Args: []string{"--env", "production"}}).ready())
	}
	begin()
	out := new(tally)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); wg.Wait() })
	t.Cleanup(end)
	for range 8 {
		wg.Go(func() {
			c := &reuser{address: func() string { return current.Load().Address }}
			defer c.leave()
			for {
				select {
				case <-stop:
					return
				case <-time.After(2 * time.Millisecond): // much less than a drain
				}
				begin, failure := time.Now(), ""
				if err := c.ask(); err != nil {
					failure = err.Error()
					c.leave()
				}
				out.Count(time.Since(begin), failure)
			}
		})
	}
	for n := range stops {
		old := current.Load()
		begin()
		want := all * int64(n+1) / int64(stops)
		old.Eventually("clients have sent their share", func() bool { return out.Sent.Load() >= want })
		old.Stop(hangs)
	}
	end()
	out.None(t)
	r.note("%d stops: %v", stops, out)
	current.Load().Stop(hangs)
}
