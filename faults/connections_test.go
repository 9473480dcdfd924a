package faults

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

func connectionScenarios() []scenario {
	return []scenario{
		{
			id: "descriptors", does: "idle connections, far more than descriptors (1,000 over the limit for a minute)",
			must: "the host lives and says so, connected clients are served; after their end everybody is", run: descriptors,
		},
		{
			id: "announced-bodies", does: "40 connections announce 33 MB each and send one byte",
			must: "less than 50 MB more memory; others are served", run: func(t *testing.T, r *row) { announcedBodies(t, r, nil) },
		},
		{
			id: "announced-bodies-1gib", does: "the same with 1 GiB for the host", root: true,
			must: "the host lives; others are served", run: func(t *testing.T, r *row) { announcedBodies(t, r, newGroup(t, limits{memory: 1 << 30})) },
		},
		{
			id: "lying-clients", does: "slow headers, wrong lengths, broken chunks, half-closed and reset connections",
			must: "others are served; no connection stays", run: lyingClients,
		},
	}
}

// dial opens n connections. The cleanup closes them.
func dial(t *testing.T, address string, n int) []net.Conn {
	t.Helper()
	var all []net.Conn
	t.Cleanup(func() { hangUp(all) })
	for range n {
		c, err := net.DialTimeout("tcp", address, hangs)
		if err != nil {
			t.Fatalf("connection %d: %v", len(all)+1, err)
		}
		all = append(all, c)
	}
	return all
}

func hangUp(all []net.Conn) {
	for _, c := range all {
		_ = c.Close()
	}
}

func descriptors(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	limit := pick(256, 1024)
	h := start(t, p, options{Limits: map[int]uint64{unix.RLIMIT_NOFILE: uint64(limit)}}).ready()
	tr := h.Traffic()
	tr.More(20)
	before := len(h.Log())
	// The listener's backlog is 4,096 or more.
	idle := dial(t, h.Address, limit+pick(100, 1000))
	tr.More(pick(int64(400), 10000))
	if full() {
		// The scenario lasts a minute; nothing is waited for.
		time.Sleep(time.Minute)
	}
	tr.End()
	tr.None(t)
	said := 0
	for line := range strings.Lines(h.Log()[before:]) {
		if !strings.Contains(line, `"level":"INFO"`) && !strings.Contains(line, `"message":"request failed"`) {
			said++
		}
	}
	hangUp(idle)
	begin := time.Now()
	h.Eventually("new clients are served again", func() bool { s, _ := h.Send("POST", "/api/v1/predict", goodBody); return s == 200 })
	r.note("limit %d, %d idle connections: of connected clients %v; %d lines of log; served again after %s", limit, len(idle), &tr.Tally, said, hosttest.MS(time.Since(begin)))
	if said < 1 || said > 100 {
		t.Errorf("%d lines of log, want one, or a few", said)
	}
	h.Stop(hangs)
}

func announcedBodies(t *testing.T, r *row, g *group) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	h := start(t, p, options{Groups: g.directories()}).ready()
	tr := h.Traffic()
	tr.More(300) // the host makes its one-time allocations now
	before := h.Resident()
	liars := dial(t, h.Address, 40)
	for _, c := range liars {
		if _, err := fmt.Fprintf(c, "POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 33000000\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
	}
	most := before
	for range pick(10, 50) {
		tr.More(100)
		most = max(most, h.Resident())
	}
	tr.End()
	tr.None(t)
	grown := most - before
	r.note("%s, %s more; of other clients %v", hosttest.MB(before), hosttest.MB(grown), &tr.Tally)
	if grown >= 50*mega {
		t.Errorf("%s more", hosttest.MB(grown))
	}
	hangUp(liars)
	h.Stop(hangs)
}

// lies returns beginnings of bad requests.
func lies() []string {
	const head = "POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	return []string{
		"P", "POST /api/v1/predict HT", head, head + "Content-Length: 1000\r\n\r\n{", head + "Content-Length: 5\r\n\r\n" + goodBody,
		head + "Content-Length: -1\r\n\r\n{}", head + "Content-Length: 18446744073709551617\r\n\r\n{}", head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
		head + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}", head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{}",
		head + "Expect: 100-continue\r\nContent-Length: 33000000\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"GET /" + strings.Repeat("a", 100000) + " HTTP/1.1\r\n\r\n", head + strings.Repeat("X: y\r\n", 20000), "\r\n\r\n\r\n", "\x00\x00\x00",
	}
}

func lyingClients(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	h := start(t, p, options{Args: []string{"--request-timeout", "3s"}}).ready()
	tr := h.Traffic()
	tr.More(100)
	files := h.Metric("process_open_fds")
	random := rand.New(rand.NewPCG(seed(), 14))
	rounds, sent := pick(5, 60), 0
	for range rounds {
		var open []net.Conn
		for _, lie := range lies() {
			c := dial(t, h.Address, 1)[0]
			_, _ = io.WriteString(c, lie) // the host may have closed the connection
			sent++
			switch random.IntN(4) {
			case 0: // closes its half and waits for the response
				_ = c.(*net.TCPConn).CloseWrite()
				open = append(open, c)
			case 1: // a reset instead of an orderly end
				_ = c.(*net.TCPConn).SetLinger(0)
				_ = c.Close()
			case 2:
				_ = c.Close()
			case 3: // continues with one byte at a time, below
				open = append(open, c)
			}
		}
		for range 20 {
			for _, c := range open {
				_, _ = c.Write([]byte{byte(' ' + random.IntN(90))})
			}
			tr.More(2)
		}
		if !full() || random.IntN(2) == 0 {
			hangUp(open) // the others stay until the host's timeouts
		}
	}
	h.Eventually("no connection is left", func() bool { return h.Metric("process_open_fds") <= files+4 })
	tr.End()
	tr.None(t)
	r.note("%d connections: of other clients %v", sent, &tr.Tally)
	h.Stop(hangs)
}
