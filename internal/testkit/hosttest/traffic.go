package hosttest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// The bodies of good requests. good is a WASM plugin, graph an ONNX graph.
const (
	Pima      = `[8, 155, 62, 26, 495, 34, 0.543, 46]`
	GoodBody  = `{"model_id": "good", "data": ` + Pima + `}`
	GraphBody = `{"model_id": "graph", "data": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}`
)

// GoodModels writes the two models for good requests.
func GoodModels(t *testing.T, p Place) {
	t.Helper()
	testkit.CopyModel(t, p.Models, "ecod-c", "good", "1.0.0", nil)
	testkit.CopyModel(t, p.Models, "mammography-gmm", "graph", "1.0.0", nil)
}

// Tally counts requests that must be answered.
type Tally struct {
	Sent, Lost atomic.Int64
	mu         sync.Mutex
	slowest    time.Duration
	first      string // the first failure
}

func (t *Tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%d of %d requests lost, slowest %s", t.Lost.Load(), t.Sent.Load(), MS(t.slowest))
}

// Count counts a request. failure says why it was not answered, or is empty.
func (t *Tally) Count(took time.Duration, failure string) {
	t.Sent.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.slowest = max(t.slowest, took)
	if failure != "" && t.Lost.Add(1) == 1 {
		t.first = failure
	}
}

// None fails the test if a request was lost or none was sent.
func (t *Tally) None(test *testing.T) {
	test.Helper()
	if t.Lost.Load() > 0 || t.Sent.Load() == 0 {
		test.Errorf("%v; the first: %s", t, t.first)
	}
}

// Patience is how long a good client waits for a response.
const Patience = 5 * time.Minute

// Ask sends a prediction request and returns how it failed, or "".
func Ask(client *http.Client, url, body string) (failure string) {
	resp, err := client.Post(url+"/api/v1/predict", "application/json", strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	switch {
	case err != nil:
		return err.Error()
	case resp.StatusCode != http.StatusOK:
		return fmt.Sprintf("%s: %s", resp.Status, text)
	}
	return ""
}

// keyed sends requests with an API key.
type keyed struct {
	http.Transport
	key string
}

// RoundTrip implements http.RoundTripper.
func (k *keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-API-Key", k.key)
	return k.Transport.RoundTrip(r) //nolint:wrapcheck // it is a transport
}

// KeepAlive returns a client that keeps its connection open.
func KeepAlive() *http.Client {
	return &http.Client{Timeout: Patience, Transport: &http.Transport{}}
}

// Traffic sends good requests until it is stopped.
type Traffic struct {
	Tally
	host *Host
	stop chan struct{}
	once sync.Once
	wg   sync.WaitGroup
}

// Traffic starts two clients, each of which sends a request every few milliseconds.
func (h *Host) Traffic(bodies ...string) *Traffic {
	tr := &Traffic{host: h, stop: make(chan struct{})}
	h.T.Cleanup(tr.End)
	if len(bodies) == 0 {
		bodies = []string{GoodBody, GraphBody}
	}
	for _, body := range bodies {
		tr.wg.Go(func() {
			client := KeepAlive()
			if h.key != "" {
				client.Transport = &keyed{key: h.key}
			}
			defer client.CloseIdleConnections()
			pace := time.NewTicker(5 * time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-tr.stop:
					return
				case <-pace.C:
				}
				begin := time.Now()
				failure := Ask(client, h.URL, body)
				tr.Count(time.Since(begin), failure)
			}
		})
	}
	return tr
}

// More waits until n more requests have been answered.
func (tr *Traffic) More(n int64) {
	h := tr.host
	h.T.Helper()
	want := tr.Sent.Load() + n
	h.Eventually(fmt.Sprintf("%d more requests are answered", n), func() bool { return tr.Sent.Load() >= want })
}

// End stops the clients and waits for them.
func (tr *Traffic) End() {
	tr.once.Do(func() { close(tr.stop) })
	tr.wg.Wait()
}

// Burst sends n requests from a number of clients as fast as they are answered. It
// stops early if one is not answered in time.
func Burst(url string, clients, n int, body func(i int) string) *Tally {
	out := new(Tally)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			client := KeepAlive()
			defer client.CloseIdleConnections()
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				begin := time.Now()
				failure := Ask(client, url, body(int(i)))
				took := time.Since(begin)
				out.Count(took, failure)
				if took >= Patience {
					next.Store(int64(n))
				}
			}
		})
	}
	wg.Wait()
	return out
}

// Always returns a function that returns body for every request.
func Always(body string) func(int) string { return func(int) string { return body } }
