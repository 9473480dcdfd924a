package rest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

var discard = slog.New(slog.DiscardHandler)

func dial(t testing.TB, h *testkit.Host) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func write(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func head(path string, length int) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, length)
}

func answerOn(t testing.TB, c net.Conn) (*http.Response, api.Problem) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var p api.Problem
	_ = json.Unmarshal(text, &p)
	return resp, p
}

// held returns how many bytes of requests and answers the host reports.
func held(t testing.TB, h *testkit.Host) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(samples(t, h)["host_inflight_bytes"], 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestAnnouncedBodies checks that memory is used for what has arrived: a byte of a
// body of 33 MB takes next to nothing.
func TestAnnouncedBodies(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t)})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const clients, announced = 40, 33_000_000
	for range clients {
		write(t, dial(t, h), head("/api/v1/predict", announced)+"{")
	}
	testkit.Eventually(t, "all are connected", func() bool { return h.Server.OpenConnections() >= clients })
	for range clients { // and some of what they announced
		c := dial(t, h)
		write(t, c, head("/api/v1/predict/batch", announced)+strings.Repeat(" ", 64<<10))
	}
	testkit.Eventually(t, "all are connected", func() bool { return h.Server.OpenConnections() >= 2*clients })
	do(t, h, sent{path: "/api/v1/predict", body: `{"model_id":"pima","data":` + goodRow + `}`})
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > 50<<20 {
		t.Errorf("%d MB were allocated for %d bodies that did not arrive", grown>>20, 2*clients)
	}
}

// TestBytesInFlight checks that all bodies together are bounded, that a body beyond
// the bound is refused with 503, and that the bytes are returned however a request
// ends.
func TestBytesInFlight(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) { c.Inflight = 7 << 19 }})
	const length = 1 << 20
	var open []net.Conn
	for range 3 { // these use most of it, and wait
		c := dial(t, h)
		write(t, c, head("/api/v1/predict/batch", length)+strings.Repeat(" ", length-1))
		open = append(open, c)
	}
	testkit.Eventually(t, "the bytes are counted", func() bool { return held(t, h) > 2.8e6 })
	c := dial(t, h)
	go func() { _, _ = io.WriteString(c, head("/api/v1/predict/batch", length)+strings.Repeat(" ", length-1)) }()
	resp, p := answerOn(t, c)
	if resp.StatusCode != http.StatusServiceUnavailable || p.ErrorType != api.Overloaded || resp.Header.Get("Retry-After") == "" || !strings.Contains(p.Detail, "server.limits.inflight_bytes") {
		t.Errorf("%d %+v", resp.StatusCode, p)
	}
	// Small requests are still served.
	var one api.Prediction
	post(t, h.URL+"/api/v1/predict", []byte(`{"data":`+goodRow+`,"model_id":"pima"}`), 200, &one)
	for i, c := range open {
		switch i {
		case 0: // completed
			write(t, c, "x")
			if resp, p := answerOn(t, c); resp.StatusCode != http.StatusBadRequest || p.ErrorType != api.ValidationError {
				t.Errorf("%d %+v", resp.StatusCode, p)
			}
		default: // aborted
			_ = c.Close()
		}
	}
	testkit.Eventually(t, "the bytes come back", func() bool { return held(t, h) == 0 })
}

// TestBatchAnswersAreCounted checks that an answer that its client does not read
// counts until the client has gone.
func TestBatchAnswersAreCounted(t *testing.T) {
	const rows = 20_000 // too large an answer for the kernel's buffers
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) { c.Inflight, c.MaxRows = 10<<20, rows }})
	row := `[0.23,5.07,-0.27,0.83,-0.37,0.48]`
	body := `{"model_id":"mammo","data":[` + strings.Repeat(row+",", rows-1) + row + `]}`
	c := dial(t, h)
	if err := c.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	write(t, c, head("/api/v1/predict/batch", len(body))+body)
	testkit.Eventually(t, "the answer is counted", func() bool { return held(t, h) >= rows*320 })
	resp, text := do(t, h, sent{path: "/api/v1/predict/batch", body: body})
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%d %.300s", resp.StatusCode, text)
	}
	_ = c.Close()
	testkit.Eventually(t, "the bytes come back", func() bool { return held(t, h) == 0 })
	var b api.BatchResponse
	post(t, h.URL+"/api/v1/predict/batch", []byte(body), 200, &b)
	if b.TotalProcessed != rows || b.TotalFailed != 0 {
		t.Errorf("%d rows, %d failed", b.TotalProcessed, b.TotalFailed)
	}
}

// TestAnswerBeforeTheBody checks that a client that is answered while it still sends
// can read the answer.
func TestAnswerBeforeTheBody(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) { c.BodyLimit = 64 << 10 }})
	const most = 8 << 20 // more than the kernel's buffers hold
	for _, c := range []struct {
		name, head string
		want       int
	}{
		{"too large", head("/api/v1/predict", most), 413},
		{"no route", head("/nowhere", most), 404},
		{"not JSON", strings.Replace(head("/api/v1/predict", most), "application/json", "text/csv", 1), 415},
		{"chunked", "POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n", most), 413},
		{"large headers", "POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nX-Large: " + strings.Repeat("x", 20<<10) + "\r\nContent-Length: 8388608\r\n\r\n", 431},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := dial(t, h)
			var sending sync.WaitGroup
			sending.Go(func() {
				_, err := io.WriteString(conn, c.head)
				for left := most; left > 0 && err == nil; left -= 64 << 10 {
					_, err = conn.Write(bytes.Repeat([]byte(" "), 64<<10))
				}
			})
			resp, _ := answerOn(t, conn)
			if resp.StatusCode != c.want {
				t.Errorf("status %d, want %d", resp.StatusCode, c.want)
			}
			_ = conn.Close()
			sending.Wait()
		})
	}
}

// TestNothingForThoseWhoLeft checks that a batch whose client has gone does not
// begin, and that a running batch ends with the piece that is being scored.
func TestNothingForThoseWhoLeft(t *testing.T) {
	h, g := serveGated(t, testkit.Options{})
	send := func() net.Conn {
		c := dial(t, h)
		body := `{"model_id":"slow","batch_size":1,"data":[[1],[2],[3]]}`
		write(t, c, head("/api/v1/predict/batch", len(body))+body)
		return c
	}
	first := send()
	if rows := <-g.begun; rows != 1 {
		t.Fatalf("%d rows at once", rows)
	}
	waiting := []net.Conn{send(), send(), send()}
	stays := send()
	testkit.Eventually(t, "all wait", func() bool { return h.Calls.Rows() == 15 })
	_ = first.Close()
	for _, c := range waiting {
		_ = c.Close()
	}
	for i := range 4 { // the piece under way, and the three of the client that stays
		g.passes <- struct{}{}
		if i < 3 {
			<-g.begun
		}
	}
	if resp, _ := answerOn(t, stays); resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
	testkit.Eventually(t, "no rows are left", func() bool { return h.Calls.Rows() == 0 })
	if rows := g.rows.Load(); rows != 4 {
		t.Errorf("%d rows were scored, of which 3 had a reader", rows)
	}
	testkit.Eventually(t, "four requests are counted as left", func() bool {
		return samples(t, h)[`model_errors_total{error_type="ClientGone",model_id="",version=""}`] == "4"
	})
}

// TestWaitingRowsAreBounded checks that batches beyond the bound are refused at
// once.
func TestWaitingRowsAreBounded(t *testing.T) {
	h, g := serveGated(t, testkit.Options{})
	h.Calls.LimitRows(4)
	batch := []byte(`{"model_id":"slow","data":[[1],[2],[3]]}`)
	var sending sync.WaitGroup
	defer sending.Wait()
	send := func() {
		sending.Go(func() {
			var b api.BatchResponse
			if err := tryPost(h.URL+"/api/v1/predict/batch", json.RawMessage(batch), &b); err != nil {
				t.Error(err)
			}
		})
	}
	send()
	<-g.begun
	resp, text := do(t, h, sent{path: "/api/v1/predict/batch", body: string(batch)})
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(string(text), "server.limits.waiting_rows") {
		t.Errorf("%d: %s", resp.StatusCode, text)
	}
	g.passes <- struct{}{}
	sending.Wait()
	send() // there is space again
	<-g.begun
	g.passes <- struct{}{}
}

// TestLargeSocketMessages checks that a WebSocket's messages are bounded like
// bodies.
func TestLargeSocketMessages(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) { c.BodyLimit, c.Inflight = 1<<20, 3<<20 }})
	hog := dial(t, h)
	write(t, hog, head("/api/v1/predict/batch", 1<<20)+strings.Repeat(" ", 1<<20-1))
	other := dial(t, h)
	write(t, other, head("/api/v1/predict/batch", 1<<20)+strings.Repeat(" ", 1<<20-1))
	testkit.Eventually(t, "the bytes are counted", func() bool { return held(t, h) > 1.8e6 })
	c := dialSocket(t, h)
	if err := c.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte(" "), 1<<20)); err != nil {
		t.Fatal(err)
	}
	var p api.Problem
	if err := c.ReadJSON(&p); err != nil || p.ErrorType != api.Overloaded && p.ErrorType != api.ValidationError {
		t.Errorf("%v: %+v", err, p)
	}
	if err := c.WriteMessage(websocket.TextMessage, []byte(`{"model_id":"pima","data":`+goodRow+`}`)); err != nil {
		t.Fatal(err)
	}
	var one api.Prediction
	if err := c.ReadJSON(&one); err != nil || one.ModelID != "pima" {
		t.Errorf("%v: %+v", err, one)
	}
	if err := c.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte(" "), 1<<20+1)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
		t.Errorf("a message that is too large ended with %v", err)
	}
	c = dialSocket(t, h) // a client that is still sending can read the answer
	var sending sync.WaitGroup
	sending.Go(func() { _ = c.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte(" "), 16<<20)) })
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
		t.Errorf("a message that is much too large ended with %v", err)
	}
	_ = c.Close()
	sending.Wait()
}

// TestUnfinishedSocketMessages checks that a client that sends parts of messages and
// never their end does not hold the bytes of others, however many pings it sends.
func TestUnfinishedSocketMessages(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) {
		c.BodyLimit, c.Inflight, c.Receive = 1<<20, 3<<20, 100*time.Millisecond
	}})
	c, ended := dialSocket(t, h), make(chan error, 1)
	w, err := c.NextWriter(websocket.TextMessage)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _, err := c.ReadMessage()
		ended <- err
	}()
	for {
		// A peer whose other end has closed gets an error at the latest on the
		// second try.
		_, err := w.Write(bytes.Repeat([]byte(" "), 8<<10))
		if err != nil || c.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Minute)) != nil {
			break
		}
		select {
		case err = <-ended:
		case <-time.After(10 * time.Millisecond):
			continue
		}
		if !websocket.IsCloseError(err, websocket.ClosePolicyViolation) {
			t.Errorf("it ended with %v", err)
		}
		break
	}
	testkit.Eventually(t, "nothing is held", func() bool { return held(t, h) == 0 })
}

// TestExplanationsAtOnce checks that explanations wait for their calls with children
// of the request's context, which ends when they do.
func TestExplanationsAtOnce(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t)})
	body := map[string]any{"model_id": "mammo", "return_explanation": true, "data": []float64{0.23, 5.07, -0.27, 0.83, -0.37, 0.48}}
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for range 200 {
				var p api.Prediction
				if err := tryPost(h.URL+"/api/v1/predict", body, &p); err != nil || p.Explanation == nil {
					t.Errorf("%v: %+v", err, p)
					return
				}
			}
		})
	}
	clients.Wait()
}

// TestAskedBeforeTheBody checks that a client that asks before it sends too large a
// body is told at once, and need not send it.
func TestAskedBeforeTheBody(t *testing.T) {
	h, _ := serveGated(t, testkit.Options{REST: func(c *rest.Config) { c.BodyLimit = 1000 }})
	ask := func(length int) net.Conn {
		t.Helper()
		c := dial(t, h)
		write(t, c, strings.Replace(head("/api/v1/predict", length), "\r\n", "\r\nExpect: 100-continue\r\n", 1))
		return c
	}
	resp, problem := answerOn(t, ask(1001))
	if resp.StatusCode != http.StatusRequestEntityTooLarge || problem.ErrorType != api.PayloadTooLarge || problem.RequestID == "" {
		t.Errorf("status %d, %+v", resp.StatusCode, problem)
	}
	within := ask(1000)
	line, err := bufio.NewReader(within).ReadString('\n')
	if err != nil || !strings.Contains(line, " 100 ") {
		t.Errorf("%q, %v; want to be told to go on", line, err)
	}
}
