package attack

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

// answer is what a host has answered.
type answer struct {
	status int
	header http.Header
	text   string
}

// problem returns the problem of a refusal.
func (a *answer) problem() api.Problem {
	var p api.Problem
	_ = json.Unmarshal([]byte(a.text), &p)
	return p
}

func (a *answer) String() string {
	if p := a.problem(); p.Detail != "" {
		return fmt.Sprintf("%d %s", a.status, p.Detail)
	}
	return fmt.Sprint(a.status)
}

// source returns a loopback address that has sent nothing yet, so that the limit of
// wrong credentials of one address does not hide what a case asks.
func (s *site) source() net.Addr {
	n := s.sources.Add(1)
	return &net.TCPAddr{IP: net.IPv4(127, 1, byte(n>>8), byte(n))}
}

// dial connects from an address, or from a new one if it is nil.
func (s *site) dial(t *testing.T, from net.Addr) net.Conn {
	t.Helper()
	if from == nil {
		from = s.source()
	}
	c, err := (&net.Dialer{LocalAddr: from}).DialContext(t.Context(), "tcp", s.Address)
	check(t, err)
	check(t, c.SetDeadline(time.Now().Add(hosttest.Hangs)))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// theLast is the last request of a connection, whose answer ends what is read.
const (
	lastPath = "/the-last-request"
	theLast  = "GET " + lastPath + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
)

// raw sends bytes on a connection of their own, and returns all answers until the host
// closes it, which it does after one more request at the latest.
func (s *site) raw(t *testing.T, text string) []*answer {
	t.Helper()
	return s.rawFrom(t, nil, text)
}

func (s *site) rawFrom(t *testing.T, from net.Addr, text string) (all []*answer) {
	t.Helper()
	c := s.dial(t, from)
	defer c.Close()
	_, _ = io.WriteString(c, text+theLast) // the host may close the connection
	reader := bufio.NewReader(c)
	for {
		a, err := read(reader)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the host neither answers nor closes the connection")
		}
		if err != nil || strings.Contains(a.text, lastPath) {
			return all
		}
		all = append(all, a)
		s.harmless(t, a)
	}
}

func read(r *bufio.Reader) (*answer, error) {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return &answer{resp.StatusCode, resp.Header, string(text)}, err
}

// one sends one request and returns its answer.
func (s *site) one(t *testing.T, from net.Addr, text string) *answer {
	t.Helper()
	all := s.rawFrom(t, from, text)
	if len(all) != 1 {
		t.Fatalf("%d answers: %.300s", len(all), all)
	}
	return all[0]
}

// harmless fails the test if an answer tells an attacker what it may not, or lacks
// what keeps browsers and caches from it.
func (s *site) harmless(t *testing.T, a *answer) {
	t.Helper()
	if a.status == http.StatusContinue || a.status == http.StatusSwitchingProtocols {
		return
	}
	for _, key := range []string{s.viewer, s.operator, s.admin, s.own} {
		if begin := key[:len("pyn_")+8+1+6]; strings.Contains(a.text, begin) {
			t.Errorf("the answer holds the beginning of a key: %.500s", a.text)
		}
	}
	for _, secret := range append(s.secrets(), "keys.yaml", s.Root, "boss", "goroutine ") {
		if strings.Contains(a.text, secret) {
			t.Errorf("the answer holds %.20q: %.500s", secret, a.text)
		}
	}
	if a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers are missing: %v", a.header)
	}
	if a.status == http.StatusUnauthorized && a.header.Get("WWW-Authenticate") == "" {
		t.Errorf("401 does not say how to authenticate: %v", a.header)
	}
	if a.status >= http.StatusInternalServerError && a.status != http.StatusServiceUnavailable {
		t.Errorf("the host failed: %d %.500s", a.status, a.text)
	}
	if a.status >= http.StatusBadRequest && !strings.HasPrefix(a.header.Get("Content-Type"), api.ProblemContentType) {
		t.Errorf("%d is no problem object: %v %.300s", a.status, a.header, a.text)
	}
}

// get returns a GET with headers, each of which ends with \r\n.
func get(path string, headers ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + strings.Join(headers, "") + "\r\n"
}

// post returns a POST with headers and a body.
func post(path, body string, headers ...string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n" + strings.Join(headers, "") + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
}

const (
	modelsPath  = "/api/v1/models"
	predictPath = "/api/v1/predict"
	asViewer    = "X-API-Key: $viewer\r\n"
	asAdmin     = "X-API-Key: $admin\r\n"
	asOwn       = "X-API-Key: $own\r\n"
	withToken   = "Authorization: Bearer $token\r\n"
)

// shown returns a header with a key.
func shown(key string) string { return "X-API-Key: " + key + "\r\n" }

// socket opens a WebSocket. The status is 101 if it is open.
func (s *site) socket(t *testing.T, header http.Header) (*websocket.Conn, int) {
	t.Helper()
	d := websocket.Dialer{NetDialContext: (&net.Dialer{LocalAddr: s.source()}).DialContext}
	c, resp, err := d.DialContext(t.Context(), "ws://"+s.Address+"/api/v1/predict/stream", header)
	if resp == nil {
		t.Fatal(err)
	}
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
		check(t, c.SetReadDeadline(time.Now().Add(hosttest.Hangs)))
	}
	return c, resp.StatusCode
}

// message sends a message on a WebSocket and returns the answer. err is that of the
// closed connection.
func message(t *testing.T, c *websocket.Conn, text string) (string, error) {
	t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		return "", err
	}
	_, answer, err := c.ReadMessage()
	return string(answer), err
}
