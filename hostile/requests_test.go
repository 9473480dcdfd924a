package hostile

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

// hostileRequest is a hostile request, byte by byte.
type hostileRequest struct {
	name, must string
	text       string
	want       []int  // statuses of the responses in order; 0: the connection is closed without one
	says       string // part of the last response
}

// Beginnings of requests.
const (
	aLoad    = "POST /api/v1/models/good/load HTTP/1.1\r\n"
	anUnload = "DELETE /api/v1/models/good/unload HTTP/1.1\r\n"
	aList    = "GET /api/v1/models HTTP/1.1\r\n"
	predict  = "POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	batch    = "POST /api/v1/predict/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	socket   = "GET /api/v1/predict/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	empty    = "Content-Length: 0\r\n\r\n"
	local    = "Host: localhost\r\n"
)

// with returns a request with a body.
func with(head, body string) string {
	return head + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
}

// hostileRequests returns requests of pages of other sites, of clients behind
// proxies, and of anybody who writes JSON.
func hostileRequests() []hostileRequest {
	var all []hostileRequest
	add := func(must string, want int, says string, requests ...[2]string) {
		for _, r := range requests {
			all = append(all, hostileRequest{name: r[0], must: must, text: r[1], want: []int{want}, says: says})
		}
	}
	add("403: it is no name of this host", 403, "is not a name of this host",
		[2]string{"rebinding: a list", aList + "Host: evil.example\r\n\r\n"},
		[2]string{"rebinding: a load", aLoad + "Host: evil.example:8080\r\n" + empty},
		[2]string{"rebinding: an unload", anUnload + "Host: 127.0.0.1.evil.example\r\n" + empty})
	add("403: pages of others may not", 403, "may not use this host",
		[2]string{"a page of another site: a load", aLoad + local + "Origin: https://evil.example\r\n" + empty},
		[2]string{"a page of another site: an unload", anUnload + local + "Origin: https://evil.example\r\n" + empty},
		[2]string{"a page of no origin", aLoad + local + "Origin: null\r\n" + empty},
		[2]string{"a page of another port", aLoad + local + "Origin: http://localhost:1\r\n" + empty},
		[2]string{"a page without Origin", aLoad + local + "Sec-Fetch-Site: cross-site\r\n" + empty},
		[2]string{"a page of a sibling site", aLoad + local + "Sec-Fetch-Site: same-site\r\n" + empty},
		[2]string{"a page asks for a prediction", with(predict+"Origin: https://evil.example\r\n", hosttest.GoodBody)},
		[2]string{"a page opens a WebSocket", socket + "Origin: https://evil.example\r\n\r\n"},
		[2]string{"a page of no origin opens a WebSocket", socket + "Origin: null\r\n\r\n"})
	add("415: forms can send it", 415, "HTML forms",
		[2]string{"a form", aLoad + local + "Content-Type: application/x-www-form-urlencoded\r\n" + empty},
		[2]string{"a form of text", aLoad + local + "Content-Type: text/plain\r\n" + empty},
		[2]string{"a form with files", aLoad + local + "Content-Type: Multipart/Form-Data; boundary=x\r\n" + empty})
	add("404: paths are case-sensitive", 404, "",
		[2]string{"another case", "POST /API/V1/models/good/LOAD HTTP/1.1\r\n" + local + empty},
		[2]string{"another case of one letter", "POST /api/v1/models/good/loaD HTTP/1.1\r\n" + local + empty})
	add("400: it is no model's name", 400, "", [2]string{"a model by a path", "GET /api/v1/models/..%2f..%2fetc HTTP/1.1\r\n" + local + "\r\n"})
	return append(append(all, smuggled()...), bombs()...)
}

// smuggled returns requests that two servers could delimit in different ways. The
// host must not answer what follows as a separate request.
func smuggled() []hostileRequest {
	const must, hidden = "400, and nothing that follows is answered", "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
	var all []hostileRequest
	for name, head := range map[string]string{
		"two lengths": "Content-Length: 5\r\nContent-Length: 0\r\n\r\n", "a length and chunks": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunks and a length": "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", "a length with a sign": "Content-Length: +0\r\n\r\n",
		"a length of two numbers": "Content-Length: 0, 5\r\n\r\n", "another coding": "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "a coding that is none": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"a space before the colon": "Content-Length : 5\r\n\r\n", "a negative length": "Content-Length: -1\r\n\r\n",
		"a length beyond 64 bits": "Content-Length: 18446744073709551617\r\n\r\n", "a chunk beyond 64 bits": "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", "a chunk with a sign": "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
	} {
		all = append(all, hostileRequest{name: "smuggling: " + name, must: must, text: predict + head + hidden, want: []int{400, 0}})
	}
	return append(all, hostileRequest{name: "smuggling: a folded line", must: "it is the line before's, as RFC 9112 allows", text: predict + "X: y\r\n Content-Length: 5\r\n\r\n" + hidden, want: []int{400, 200}})
}

// bombs returns bodies that cost more to read than to send.
func bombs() []hostileRequest {
	const mega = 1 << 20
	of := func(name string, status int, head, body string) hostileRequest {
		return hostileRequest{name: "a body of " + name, must: fmt.Sprintf("refused with %d", status), text: with(head, body), want: []int{status}}
	}
	many := strings.Repeat
	return []hostileRequest{
		of("10 million open brackets", 400, predict, `{"model_id": "good", "data": `+many("[", 10*mega)),
		of("10 million brackets, closed", 400, predict, `{"model_id": "good", "data": `+many("[", 5*mega)+many("]", 5*mega)+"}"),
		of("objects in a million objects", 400, predict, many(`{"data":`, mega)+"1"+many("}", mega)),
		of("a million unknown members", 400, predict, "{"+numbered(`"m%d": 1,`, mega)+`"model_id": "good", "data": `+hosttest.Pima+"}"),
		of("a member a million times", 400, predict, "{"+many(`"model_id": "good",`, mega)+`"data": `+hosttest.Pima+"}"),
		of("a number of 10 million digits", 422, predict, `{"model_id": "good", "data": [`+many("9", 10*mega)+",155,62,26,495,34,0.543,46]}"),
		of("a number beyond all", 422, predict, `{"model_id": "good", "data": [1e999999999,155,62,26,495,34,0.543,46]}`),
		of("a name of 20 MB", 400, predict, `{"model_id": "`+many("x", 20*mega)+`", "data": [1]}`),
		of("escapes of 20 MB", 400, predict, `{"model_id": "`+many(`\u0000`, 3*mega)+`", "data": [1]}`),
		of("half a surrogate", 400, predict, `{"model_id": "\ud800", "data": [1]}`),
		of("8 million empty rows", 413, batch, `{"model_id": "good", "data": [`+many("[],", 8*mega)+"[]]}"),
		of("more than the limit", 413, predict, many(" ", 40*mega)),
		of("bytes that are no UTF-8", 400, predict, "{\"model_id\": \"\xff\xfe\", \"data\": [1]}"),
	}
}

// requests sends all hostile requests and checks the models afterwards.
func (s *site) requests(t *testing.T, table *table, only *regexp.Regexp) {
	for _, r := range hostileRequests() {
		if !only.MatchString("requests/" + r.name) {
			continue
		}
		t.Run(word.ReplaceAllString(r.name, "-"), func(t *testing.T) {
			table.begin(t)
			table.row(t, "requests: "+r.name, r.must, s.ask(t, r))
		})
	}
	t.Run("samples", func(t *testing.T) {
		table.begin(t)
		table.row(t, "requests: samples of rows with members that are no features", "they are not kept", s.samples(t))
	})
	for _, id := range []string{"good", "graph", "plugin", "sampling"} {
		if v := s.Version(id); v == nil || v.Status != "loaded" {
			t.Errorf("%s is %+v", id, v)
		}
	}
}

// ask sends a request and reads the responses.
func (s *site) ask(t *testing.T, r hostileRequest) (happened string) {
	t.Helper()
	c, err := net.Dial("tcp", s.Address)
	check(t, err)
	defer c.Close()
	check(t, c.SetDeadline(time.Now().Add(hosttest.Hangs)))
	_, _ = io.WriteString(c, r.text) // the host may close the connection
	reader := bufio.NewReader(c)
	for _, want := range r.want {
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) || want != 0 {
				t.Errorf("no answer: %v, want %d", err, want)
			}
			return happened + ", closed"
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		var p api.Problem
		_ = json.Unmarshal(text, &p)
		happened = fmt.Sprintf("%d %s", resp.StatusCode, p.Detail)
		if resp.StatusCode != want || !strings.Contains(string(text), r.says) {
			t.Errorf("%d %.500s, want %d %q", resp.StatusCode, text, want, r.says)
		}
		if resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Error("the page may read the answer")
		}
		s.clean(t, string(text), true)
	}
	return happened
}

// samples reads the rows that the host has kept of the traffic.
func (s *site) samples(t *testing.T) string {
	t.Helper()
	var got api.Samples
	s.Eventually("a row is kept", func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/api/v1/models/sampling/samples", nil)
		check(t, err)
		resp, err := http.DefaultClient.Do(req)
		check(t, err)
		defer resp.Body.Close()
		check(t, json.NewDecoder(resp.Body).Decode(&got))
		return len(got.Rows) > 0
	})
	for _, r := range got.Rows {
		if strings.Contains(string(r.Data), "card") || !strings.Contains(string(r.Data), "f7") {
			t.Errorf("a row is kept as %s", r.Data)
		}
	}
	return fmt.Sprintf("%d rows, as %s", len(got.Rows), got.Rows[0].Data)
}
