package rest_test

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/fasthttp/websocket"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestPagesOfOthers checks that requests that a browser sends for pages of other
// sites are refused, and that those of clients and of this host's own pages are not.
func TestPagesOfOthers(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) {
		c.Hosts, c.Origins = []string{"models.test"}, []string{"https://friend.example"}
	}})
	own := strings.TrimPrefix(h.URL, "http://")
	const load, list, predict = "POST /api/v1/models/pima/load", "GET /api/v1/models", "POST /api/v1/predict"
	for _, c := range []struct {
		name, request, host string
		header              map[string]string
		want                int
	}{
		{"a client", load, own, nil, 200},
		{"localhost", load, "localhost:1", nil, 200},
		{"LocalHost.", load, "LocalHost.", nil, 200},
		{"a name of localhost", list, "a.localhost:8080", nil, 200},
		{"IPv6", load, "[::1]:8080", nil, 200},
		{"another address", list, "10.1.2.3", nil, 200},
		{"a configured name", load, "models.test:80", nil, 200},
		{"rebinding", list, "evil.example", nil, 403},
		{"rebinding with the port", load, "evil.example:8080", nil, 403},
		{"rebinding to health", "GET /health", "evil.example", nil, 403},
		{"rebinding to no route", "GET /nothing", "evil.example", nil, 403},
		{"an address in a name", list, "127.0.0.1.evil.example", nil, 403},
		{"localhost in a name", list, "localhost.evil.example", nil, 403},
		{"origin of another", load, own, map[string]string{"Origin": "https://evil.example"}, 403},
		{"origin of another, predict", predict, own, map[string]string{"Origin": "https://evil.example"}, 403},
		{"origin null", load, own, map[string]string{"Origin": "null"}, 403},
		{"own origin", load, own, map[string]string{"Origin": h.URL}, 200},
		{"own origin, fetched", load, own, map[string]string{"Origin": h.URL, "Sec-Fetch-Site": "same-origin"}, 200},
		{"another port of this machine", load, own, map[string]string{"Origin": "http://127.0.0.1:1"}, 403},
		{"listed origin", load, own, map[string]string{"Origin": "https://friend.example", "Sec-Fetch-Site": "cross-site"}, 200},
		{"cross-site without origin", load, own, map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"same-site", load, own, map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"typed by a person", load, own, map[string]string{"Sec-Fetch-Site": "none"}, 200},
		{"reading cross-site", list, own, map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, 200}, // which the page is not shown
		{"a form", load, own, map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, 415},
		{"a form of text", load, own, map[string]string{"Content-Type": "Text/Plain; charset=utf-8"}, 415},
		{"a form with files", load, own, map[string]string{"Content-Type": "multipart/form-data; boundary=x"}, 415},
		{"JSON", load, own, map[string]string{"Content-Type": "application/json"}, 200},
		{"another case", "POST /API/V1/models/pima/LOAD", own, nil, 404},
		{"another case and method", "POST /API/v1/models", own, nil, 404},
		{"another method", "POST /api/v1/models", own, nil, 405},
		{"a slash at the end", "POST /api/v1/models/pima/load/", own, nil, 404},
		{"a slash at the beginning", "GET //api/v1/models", own, nil, 404},
		{"a letter in another way", "POST /api/v1/models/pima/%6coad", own, nil, 404},
		{"by a detour", "POST /health/../api/v1/models/pima/load", own, nil, 404},
		{"another case of one letter", "POST /api/v1/models/pima/Load", own, nil, 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := dial(t, h)
			text := c.request + " HTTP/1.1\r\nHost: " + c.host + "\r\nConnection: close\r\n"
			for k, v := range c.header {
				text += k + ": " + v + "\r\n"
			}
			write(t, conn, text+"Content-Length: 0\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != c.want {
				t.Errorf("status %d, want %d", resp.StatusCode, c.want)
			}
			if v := resp.Header.Get("Access-Control-Allow-Origin"); v != "" && c.header["Origin"] != "https://friend.example" {
				t.Errorf("the page may read the answer: %q", v)
			}
		})
	}
	for origin, want := range map[string]int{"https://evil.example": 403, "null": 403, "": 101, h.URL: 101, "https://friend.example": 101} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		c, resp, err := websocket.DefaultDialer.Dial("ws://"+own+"/api/v1/predict/stream", header)
		if err == nil {
			_ = c.Close()
		}
		if resp == nil || resp.StatusCode != want {
			t.Errorf("a WebSocket of a page of %q: %v, %v, want %d", origin, resp, err, want)
		}
	}
}

// FuzzHost checks that no name that a page can have, with any port, is taken for this
// host: a page chooses what stands before its own domain.
func FuzzHost(f *testing.F) {
	for _, name := range []string{"", "127.0.0.1.", "localhost.", "models.test.", "LOCALHOST.", "--1.", "1.2.3.4-", "0x7f.", "a.localhost.", "xn--localhost."} {
		f.Add(name, uint16(8080))
	}
	f.Fuzz(func(t *testing.T, before string, port uint16) {
		if strings.ContainsFunc(before, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
		}) {
			return // no browser sends it
		}
		for _, host := range []string{before + "evil.example", before + "evil.example.", fmt.Sprintf("%sevil.example:%d", before, port)} {
			if rest.IsOwn(host, "models.test") {
				t.Errorf("%q is taken for this host", host)
			}
		}
	})
}

// TestNobodyIsLocal checks that callers on this machine have no special rights if
// credentials are configured, since they may be proxies, and that a page cannot turn
// its visitor into a local caller.
func TestNobodyIsLocal(t *testing.T) {
	remote := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) { c.Gate = gateOf(t, access.Configured, nil) }})
	open := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) { c.Loopback, c.Gate = false, gateOf(t, access.RunKey, nil) }})
	for _, c := range []struct {
		h    *testkit.Host
		host string
		want int
	}{{remote, "127.0.0.1", 401}, {open, "127.0.0.1", 200}, {open, "evil.example", 401}} {
		conn := dial(t, c.h)
		write(t, conn, "POST /api/v1/models/pima/load HTTP/1.1\r\nHost: "+c.host+"\r\nContent-Length: 0\r\n\r\n")
		if resp, p := answerOn(t, conn); resp.StatusCode != c.want {
			t.Errorf("%s: %d %+v", c.host, resp.StatusCode, p)
		}
	}
}
