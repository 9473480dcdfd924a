package attack

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

// crowd is a number of clients that send very slowly until the host closes their
// connections.
type crowd struct {
	wg      sync.WaitGroup
	mu      sync.Mutex
	longest time.Duration
	open    int // connections that the host had not closed when the test gave up
}

// slowly makes n clients send a text and then drop by drop.
func (s *site) slowly(t *testing.T, n int, text, drop string) *crowd {
	c := new(crowd)
	for range n {
		conn := s.dial(t, nil)
		c.wg.Go(func() {
			began := time.Now()
			closed := trickle(conn, text, drop, began.Add(hosttest.Hangs))
			c.mu.Lock()
			defer c.mu.Unlock()
			c.longest = max(c.longest, time.Since(began))
			if !closed {
				c.open++
			}
		})
	}
	return c
}

// trickle sends slowly, and reports whether the host has closed the connection.
func trickle(conn net.Conn, text, drop string, until time.Time) bool {
	const often = 300 * time.Millisecond
	defer conn.Close()
	_, err := io.WriteString(conn, text)
	buffer := make([]byte, 4<<10)
	for err == nil && time.Now().Before(until) {
		_ = conn.SetReadDeadline(time.Now().Add(often))
		if _, err = conn.Read(buffer); errors.Is(err, os.ErrDeadlineExceeded) {
			_, err = io.WriteString(conn, drop)
		}
	}
	return err != nil
}

// begin starts the clients that are slow. The cases of resources wait for their ends.
func (s *site) begin(t *testing.T) {
	t.Helper()
	head := "POST " + predictPath + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
	s.slow = []*crowd{
		s.slowly(t, 80, "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n", "X: y\r\n"), s.slowly(t, 40, head+shown(s.viewer)+"Content-Length: 100000\r\n\r\n", " "),
		s.slowly(t, 40, head+shown(s.viewer)+"Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"), s.slowly(t, 40, "", ""),
	}
}

// resources returns attacks on what all callers share.
func resources() []attack {
	gzipped := func(n int) string {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		_, _ = w.Write(bytes.Repeat([]byte(" "), n))
		_ = w.Close()
		return out.String()
	}
	slow := func(i int, name string) attack {
		return attack{name: name, must: "the host closes each", run: func(t *testing.T, s *site) string {
			s.slow[i].wg.Wait()
			if s.slow[i].open > 0 {
				t.Errorf("%d are still open", s.slow[i].open)
			}
			const allowed = 30 * time.Second
			if s.slow[i].longest > 2*allowed {
				t.Logf("the longest took %v", s.slow[i].longest) // on a machine that is busy
			}
			return "closed"
		}}
	}
	const anyLength = "POST " + predictPath + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
	const mega = 1 << 20
	return []attack{
		{name: "10,000 headers", must: "431", text: get(modelsPath, asViewer, strings.Repeat("X: y\r\n", 10000)), want: []int{431}},
		{name: "a path of 1 MB", must: "431", text: get("/" + strings.Repeat("a", mega)), want: []int{431}},
		{name: "a body of 10 GB is announced", must: "413", text: anyLength + asViewer + "Content-Length: 10737418240\r\n\r\n" + strings.Repeat(" ", 64<<10), want: []int{413}},
		{name: "a body of 10 GB is announced, with Expect", must: "413, unread", text: anyLength + asViewer + "Expect: 100-continue\r\nContent-Length: 10737418240\r\n\r\n", want: []int{413}},
		{name: "40 MB in chunks", must: "413", text: anyLength + asViewer + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("100000\r\n"+strings.Repeat(" ", mega)+"\r\n", 40) + "0\r\n\r\n", want: []int{413}},
		{name: "20 MB of nobody", must: "401, unread", text: post(predictPath, strings.Repeat(" ", 20*mega)), want: []int{401}},
		{name: "an endless body of nobody", must: "401, and closed", text: anyLength + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("100000\r\n"+strings.Repeat(" ", mega)+"\r\n", 40), want: []int{401}},
		{name: "20 bodies of 15 MB at once", must: "answered or refused; the memory stays bounded", run: func(t *testing.T, s *site) string { return s.bodies(t) }},
		{name: "a compressed body, 100 MB in 100 KB", must: "413: no more bytes are decompressed than a body may have", text: post(predictPath, gzipped(100*mega), asViewer, "Content-Encoding: gzip\r\n"), want: []int{413}},
		{name: "a body compressed five times", must: "415", text: post(predictPath, gzipped(mega), asViewer, "Content-Encoding: gzip, gzip, deflate, br, zstd\r\n"), want: []int{415}},
		{name: "a good body that says that it is compressed", must: "400", text: post(predictPath, ownBody, asViewer, "Content-Encoding: gzip\r\n"), want: []int{400}},
		{name: "1,000 requests at once on one connection", must: "each is answered", run: func(t *testing.T, s *site) string {
			n := 0
			for _, a := range s.raw(t, strings.Repeat(get(modelsPath+"/own", shown(s.viewer)), 1000)) {
				if a.status == 200 {
					n++
				}
			}
			if n != 1000 {
				t.Errorf("%d were answered", n)
			}
			return fmt.Sprintf("%d answers", n)
		}},
		{name: fmt.Sprintf("%d connections, of %d that the host has", 2*mostConns, mostConns), must: "those who are connected go on; afterwards everybody gets in", run: func(t *testing.T, s *site) string { return s.connections(t) }},
		{name: "WebSocket: a message of 64 MB", must: "the connection ends", run: func(t *testing.T, s *site) string {
			return s.frames(t, "\x81\xff\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00"+strings.Repeat(" ", 40*mega))
		}},
		{name: "WebSocket: a frame without a mask", must: "the connection ends", run: func(t *testing.T, s *site) string { return s.frames(t, "\x81\x02{}") }},
		{name: "WebSocket: a frame that is compressed", must: "the connection ends", run: func(t *testing.T, s *site) string { return s.frames(t, "\xc1\x82\x00\x00\x00\x00{}") }},
		{name: "WebSocket: an unknown kind of frame", must: "the connection ends", run: func(t *testing.T, s *site) string { return s.frames(t, "\x83\x82\x00\x00\x00\x00{}") }},
		{name: "WebSocket: a ping of 1 KB", must: "the connection ends", run: func(t *testing.T, s *site) string {
			return s.frames(t, "\x89\xfe\x04\x00\x00\x00\x00\x00"+strings.Repeat(" ", 1<<10))
		}},
		{name: "WebSocket: a message in 40 MB of fragments", must: "the connection ends", run: func(t *testing.T, s *site) string {
			fragment := "\x00\xff\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00" + strings.Repeat(" ", mega)
			return s.frames(t, "\x01\x80\x00\x00\x00\x00"+strings.Repeat(fragment, 40))
		}},
		{name: "WebSocket: 100,000 pings", must: "the next message is answered", run: func(t *testing.T, s *site) string { return s.pings(t) }},
		slow(0, "80 clients that send a header drop by drop"), slow(1, "40 clients that send a body drop by drop"), slow(2, "40 clients that send a body in chunks drop by drop"), slow(3, "40 clients that send nothing"),
	}
}

// bodies sends large bodies at the same time.
func (s *site) bodies(t *testing.T) string {
	text := post(predictPath, strings.Repeat(" ", 15<<20), shown(s.viewer))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for _, a := range s.raw(t, text) {
				if a.status != 400 && a.status != 413 && a.status != 503 {
					t.Errorf("%v", a)
				}
			}
		})
	}
	wg.Wait()
	if peak := hosttest.Peak(t, s.Cmd.Process.Pid); peak > mostMemory {
		t.Errorf("the host uses %s", hosttest.MB(peak))
	}
	return "it stays below " + hosttest.MB(mostMemory)
}

// connections opens more connections than the host has, while good requests go on.
func (s *site) connections(t *testing.T) string {
	kept := s.Traffic()
	kept.More(10)
	var all []net.Conn
	for range 2 * mostConns {
		c, err := (&net.Dialer{LocalAddr: s.source(), Timeout: 100 * time.Millisecond}).DialContext(t.Context(), "tcp", s.Address)
		if err != nil { // the kernel's queue is full
			continue
		}
		_, _ = io.WriteString(c, "GET /health HTTP/1.1\r\n")
		all = append(all, c)
	}
	kept.More(100)
	kept.End()
	kept.None(t)
	for _, c := range all {
		_ = c.Close()
	}
	s.Eventually("everybody gets in", func() bool { return s.Status("/health") == http.StatusOK })
	return "they did"
}

// frames sends bytes on an open WebSocket, which must end.
func (s *site) frames(t *testing.T, text string) string {
	c, status := s.socket(t, http.Header{"X-Api-Key": {s.viewer}})
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("opening: %d", status)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.WriteString(c.NetConn(), text) })
	var err error
	for err == nil {
		var got []byte
		if _, got, err = c.ReadMessage(); err == nil && !strings.Contains(string(got), "error_type") {
			t.Errorf("it is answered: %.300s", got)
		}
	}
	_ = c.Close()
	wg.Wait()
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		return fmt.Sprintf("closed with %d", closed.Code)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection stays open")
	}
	return "closed"
}

func (s *site) pings(t *testing.T) string {
	c, status := s.socket(t, http.Header{"X-Api-Key": {s.viewer}})
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("opening: %d", status)
	}
	w := bufio.NewWriter(c.NetConn())
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 100_000 {
			_, _ = w.WriteString("\x89\x80\x00\x00\x00\x00")
		}
		_, _ = w.WriteString("\x81" + string([]byte{0x80 | byte(len(ownBody))}) + "\x00\x00\x00\x00" + ownBody)
		_ = w.Flush()
	})
	_, got, err := c.ReadMessage()
	wg.Wait()
	if err != nil || !strings.Contains(string(got), `"prediction":`) {
		t.Errorf("%s, %v", got, err)
	}
	return "it is"
}
