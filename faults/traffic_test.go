package faults

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

// The rows that good requests ask for. good is a WASM plugin, graph an ONNX graph.
const (
	pima      = `[8, 155, 62, 26, 495, 34, 0.543, 46]`
	goodBody  = `{"model_id": "good", "data": ` + pima + `}`
	graphBody = `{"model_id": "graph", "data": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]}`
)

// goodModels writes the two models that good requests are for.
func goodModels(t *testing.T, p place) {
	t.Helper()
	testkit.CopyModel(t, p.models, "ecod-c", "good", "1.0.0", nil)
	testkit.CopyModel(t, p.models, "mammography-gmm", "graph", "1.0.0", nil)
}

// tally counts requests that must be answered.
type tally struct {
	sent, lost atomic.Int64
	mu         sync.Mutex
	slowest    time.Duration
	first      string // of those that were lost
}

func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%d of %d requests lost, slowest %s", t.lost.Load(), t.sent.Load(), ms(t.slowest))
}

// count counts a request and whether it was answered.
func (t *tally) count(took time.Duration, failure string) {
	t.sent.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.slowest = max(t.slowest, took)
	if failure != "" && t.lost.Add(1) == 1 {
		t.first = failure
	}
}

// none fails the test if a request was lost, or none was sent.
func (t *tally) none(test *testing.T) {
	test.Helper()
	if t.lost.Load() > 0 || t.sent.Load() == 0 {
		test.Errorf("%v; the first: %s", t, t.first)
	}
}

// patience is how long a good client waits for an answer.
const patience = time.Minute

// ask sends a prediction request and says how it failed; empty: it did not.
func ask(client *http.Client, url, body string) (failure string) {
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

func keepAlive() *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{}}
}

// traffic sends good requests until it is stopped.
type traffic struct {
	tally
	stop chan struct{}
	once sync.Once
	wg   sync.WaitGroup
}

// traffic starts two clients that send a request each every few milliseconds.
func (h *host) traffic(bodies ...string) *traffic {
	tr := &traffic{stop: make(chan struct{})}
	h.t.Cleanup(tr.end)
	if len(bodies) == 0 {
		bodies = []string{goodBody, graphBody}
	}
	for _, body := range bodies {
		tr.wg.Go(func() {
			client := keepAlive()
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
				failure := ask(client, h.url, body)
				tr.count(time.Since(begin), failure)
			}
		})
	}
	return tr
}

// more waits until n more requests have been sent.
func (tr *traffic) more(h *host, n int64) {
	h.t.Helper()
	want := tr.sent.Load() + n
	h.eventually(fmt.Sprintf("%d more requests are answered", n), func() bool { return tr.sent.Load() >= want })
}

// end stops the clients and waits for them.
func (tr *traffic) end() {
	tr.once.Do(func() { close(tr.stop) })
	tr.wg.Wait()
}

// burst sends n requests from a number of clients, as fast as they are answered. It
// ends early if one is not answered in time.
func burst(url string, clients, n int, body func(i int) string) *tally {
	out := new(tally)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			client := keepAlive()
			defer client.CloseIdleConnections()
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				begin := time.Now()
				failure := ask(client, url, body(int(i)))
				took := time.Since(begin)
				out.count(took, failure)
				if took >= patience {
					next.Store(int64(n))
				}
			}
		})
	}
	wg.Wait()
	return out
}

func always(body string) func(int) string { return func(int) string { return body } }
