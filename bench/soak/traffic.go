package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pynomaly/pynomaly-runtime/api"
)

// worker repeats one kind of traffic.
type worker struct {
	h      *host
	cases  []*testCase
	t      *tally
	random *rand.Rand
	client *http.Client
	socket *websocket.Conn
}

// traffic runs all workers for a time. If replace is not nil, it is called a few
// times per second with an increasing number.
func traffic(ctx context.Context, h *host, cases []*testCase, t *tally, d time.Duration, replace func(int) error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var wg sync.WaitGroup
	kinds := []func(*worker) error{(*worker).single, (*worker).single, (*worker).batch, (*worker).explain, (*worker).stream, (*worker).stream, (*worker).bad, (*worker).cut}
	for i, kind := range kinds {
		wg.Go(func() {
			w := &worker{h: h, cases: cases, t: t, random: rand.New(rand.NewPCG(1, uint64(i))), client: &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}}
			for ctx.Err() == nil {
				if err := kind(w); err != nil {
					t.fail(err)
				}
			}
			w.client.CloseIdleConnections()
			if w.socket != nil {
				_ = w.socket.Close()
			}
		})
	}
	if replace != nil {
		wg.Go(func() {
			tick := time.NewTicker(300 * time.Millisecond)
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				if err := replace(i); err != nil {
					t.fail(err)
				} else {
					t.replaced.Add(1)
				}
			}
		})
	}
	wg.Wait()
}

func (w *worker) pick() (*testCase, int) {
	c := w.cases[w.random.IntN(len(w.cases))]
	return c, w.random.IntN(len(c.rows))
}

// post sends a body and decodes a response, whose status must be want.
func (w *worker) post(path string, body []byte, want int, to any) error {
	resp, err := w.client.Post("http://"+w.h.addr+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if resp.StatusCode != want {
		return fmt.Errorf("%s: status %d, want %d: %.300s", path, resp.StatusCode, want, text)
	}
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("%s: %w in %.300s", path, err, text)
	}
	return nil
}

const (
	pathOne  = "/api/v1/predict"
	pathMany = "/api/v1/predict/batch"
)

func one(c *testCase, i int, more string) []byte {
	return []byte(`{"model_id":"` + c.name + `","data":` + string(c.rows[i]) + more + `}`)
}

func (w *worker) single() error {
	c, i := w.pick()
	var p api.Prediction
	if err := w.post(pathOne, one(c, i, ""), http.StatusOK, &p); err != nil {
		return err
	}
	w.t.single.Add(1)
	return c.check(i, p)
}

func (w *worker) explain() error {
	c, i := w.pick()
	var p api.Prediction
	if err := w.post(pathOne, one(c, i, `,"return_explanation":true`), http.StatusOK, &p); err != nil {
		return err
	}
	if p.Explanation == nil || len(p.Explanation.Contributions) == 0 {
		return fmt.Errorf("%s row %d: no explanation", c.name, i)
	}
	w.t.explained.Add(1)
	return c.check(i, p)
}

func (w *worker) batch() error {
	c, from := w.pick()
	n := 1 + w.random.IntN(300)
	body := []byte(`{"batch_size":` + number(1+w.random.IntN(100)) + `,"data":[`)
	for k := range n {
		if k > 0 {
			body = append(body, ',')
		}
		body = append(body, c.rows[(from+k)%len(c.rows)]...)
	}
	body = append(body, `],"model_id":"`+c.name+`"}`...)
	var b api.BatchResponse
	if err := w.post(pathMany, body, http.StatusOK, &b); err != nil {
		return err
	}
	if len(b.Predictions) != n {
		return fmt.Errorf("%s: %d predictions for %d rows", c.name, len(b.Predictions), n)
	}
	for k, p := range b.Predictions {
		if err := c.check((from+k)%len(c.rows), p); err != nil {
			return err
		}
	}
	w.t.batches.Add(1)
	return nil
}

// stream sends a message. Now and then it drops the connection and opens another.
func (w *worker) stream() error {
	if w.socket == nil {
		socket, resp, err := websocket.DefaultDialer.Dial("ws://"+w.h.addr+"/api/v1/predict/stream", nil)
		if err != nil {
			return fmt.Errorf("opening a WebSocket: %w", err)
		}
		_ = resp.Body.Close()
		w.socket = socket
	}
	c, i := w.pick()
	if err := w.socket.WriteMessage(websocket.TextMessage, one(c, i, `,"id":`+number(i))); err != nil {
		return fmt.Errorf("sending a message: %w", err)
	}
	if w.random.IntN(200) == 0 { // without reading the response
		_ = w.socket.NetConn().Close()
		w.socket = nil
		w.t.cut.Add(1)
		return nil
	}
	var p api.Prediction
	if err := w.socket.ReadJSON(&p); err != nil {
		return fmt.Errorf("reading a message: %w", err)
	}
	if p.ID != float64(i) {
		return fmt.Errorf("the message of id %d was answered with id %v", i, p.ID)
	}
	w.t.streamed.Add(1)
	return c.check(i, p)
}

// bad sends a request that must be refused.
func (w *worker) bad() error {
	c, i := w.pick()
	whole := one(c, i, "")
	k := w.random.IntN(5)
	body, want := whole[:1+w.random.IntN(len(whole)-1)], http.StatusBadRequest
	switch k {
	case 1:
		body, want = []byte(`{"model_id":"`+c.name+`","data":{"no such feature":1}}`), http.StatusUnprocessableEntity
	case 2:
		body, want = []byte(`{"model_id":"nobody","data":[1]}`), http.StatusNotFound
	case 3:
		body, want = []byte(`{"model_id":"`+c.name+`","data":[1e400]}`), http.StatusUnprocessableEntity
	case 4:
		body = []byte(`{"data":` + string(bytes.Repeat([]byte("["), 200)))
	}
	var p api.Problem
	if err := w.post(pathOne, body, want, &p); err != nil {
		return err
	}
	if p.Detail == "" || p.Status != want {
		return fmt.Errorf("an incomplete problem: %+v", p)
	}
	w.t.refused.Add(1)
	time.Sleep(time.Millisecond)
	return nil
}

// cut sends a part of a request, or all of it, and closes the connection.
func (w *worker) cut() error {
	c, i := w.pick()
	conn, err := net.Dial("tcp", w.h.addr)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	body := one(c, i, "")
	message := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", pathOne, len(body), body)
	if w.random.IntN(2) == 0 {
		message = message[:w.random.IntN(len(message))]
	}
	_, _ = io.WriteString(conn, message) // the other side may be gone
	if w.random.IntN(2) == 0 {
		_ = conn.(*net.TCPConn).SetLinger(0) // a reset instead of an orderly end
	}
	_ = conn.Close()
	w.t.cut.Add(1)
	time.Sleep(2 * time.Millisecond)
	return nil
}
