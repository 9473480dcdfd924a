package faults

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

func stormScenarios() []scenario {
	return []scenario{
		{
			id: "batch-storm", does: "40 clients send batches of 10,000 rows with a second of patience, for 9 s (short form: 3 s)",
			must: "nothing is computed for clients that have left; single rows are as fast as before, memory within 1.5 times of before; 503 has Retry-After", run: batchStorm,
		},
		{
			id: "retry-storm", does: "64 clients with 20 ms of patience that retry at once",
			must: "bounded memory; afterwards everybody is served", run: retryStorm,
		},
	}
}

// storm counts the responses of impatient clients.
type storm struct {
	answered, late, busy, without atomic.Int64
}

// rage sends a body from several clients until n requests have been sent. No client
// waits longer than its patience.
func rage(h *host, clients, n int, patience time.Duration, path, body string) *storm {
	out := new(storm)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for next.Add(1) <= int64(n) && h.Lives() {
				out.once(client, h.URL+path, body, patience)
			}
		})
	}
	wg.Wait()
	return out
}

func (s *storm) once(client *http.Client, url, body string, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		s.late.Add(1)
		return
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable:
		s.busy.Add(1)
		if resp.Header.Get("Retry-After") == "" {
			s.without.Add(1)
		}
		<-ctx.Done() // send the next one when the patience has ended
	case err == nil && resp.StatusCode == http.StatusOK:
		s.answered.Add(1)
	default:
		s.late.Add(1)
	}
}

// pace returns how long single rows take, one after the other.
func (h *host) pace(n int) time.Duration {
	h.T.Helper()
	begin := time.Now()
	hosttest.Burst(h.URL, 1, n, hosttest.Always(goodBody)).None(h.T)
	return time.Since(begin) / time.Duration(n)
}

func batchStorm(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	testkit.CopyModel(t, p.Models, "ecod-c", "good", "1.0.0", nil)
	testkit.CopyModel(t, p.Models, "pima-lof", "batches", "1.0.0", nil)
	h := start(t, p, options{Args: []string{"--log-level", "warn"}}).ready()
	const rows = 10000
	body := `{"model_id": "batches", "data": [` + strings.Repeat(pima+",", rows-1) + pima + `]}`
	for range 3 { // the host makes its one-time allocations now
		if status, text := h.Send("POST", "/api/v1/predict/batch", body); status != 200 {
			t.Fatalf("a batch: %d %.300s", status, text)
		}
	}
	usual := h.pace(300)
	memory := h.Resident()
	beside := h.Traffic(goodBody)
	peak := memory
	var wg sync.WaitGroup
	over := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(50 * time.Millisecond): // a sample
				if h.Lives() {
					peak = max(peak, h.Resident())
				}
			}
		}
	})
	out := rage(h, 40, 40*pick(3, 9), time.Second, "/api/v1/predict/batch", body)
	left := time.Now()
	close(over)
	wg.Wait()
	beside.End()
	computed := h.Metric(`model_rows_total{model_id="batches"`)
	r.note("%d answered, %d left, %d got 503; beside: %v", out.answered.Load(), out.late.Load(), out.busy.Load(), &beside.Tally)
	if out.without.Load() > 0 {
		t.Errorf("%d answers 503 had no Retry-After", out.without.Load())
	}
	h.Eventually("single rows are as fast as before", func() bool { return h.pace(50) < 3*usual })
	r.note("single rows as before %s after", hosttest.MS(time.Since(left)))
	h.Eventually("memory is within 1.5 times of before", func() bool { return float64(h.Resident()) < 1.5*float64(memory) })
	r.note("memory %s, at most %s, within 1.5 times %s after", hosttest.MB(memory), hosttest.MB(peak), hosttest.MS(time.Since(left)))
	h.Eventually("no lease is left", func() bool { return h.Metric("model_leases") == 0 })
	late := h.Metric(`model_rows_total{model_id="batches"`) - computed
	r.note("%.0f rows computed for nobody", late)
	if late > float64(4*rows) {
		t.Errorf("%.0f rows were computed after all clients had left", late)
	}
	beside.None(t)
	h.Stop(hangs)
}

func retryStorm(t *testing.T, r *row) {
	p := hosttest.NewPlace(t)
	goodModels(t, p)
	testkit.WriteFaulty(t, p.Models, "slow", `"delay":200`, "")
	h := start(t, p, options{Plugins: true, Args: []string{"--log-level", "warn"}}).ready()
	h.serving(50)
	memory := h.Resident()
	out := rage(h, 64, pick(3000, 50000), 20*time.Millisecond, "/api/v1/predict", `{"model_id": "slow", "data": [1, 2]}`)
	h.MustLive()
	left := time.Now()
	most := h.Resident()
	h.serving(50)
	h.Eventually("the slow model answers", func() bool {
		status, _ := h.Send("POST", "/api/v1/predict", `{"model_id": "slow", "data": [1, 2]}`)
		return status == 200
	})
	r.note("%d answered, %d left, %d got 503; all are served %s after; memory %s, %s at the end", out.answered.Load(), out.late.Load(), out.busy.Load(),
		hosttest.MS(time.Since(left)), hosttest.MB(memory), hosttest.MB(most))
	if most > memory+200*mega {
		t.Errorf("memory grew from %s to %s", hosttest.MB(memory), hosttest.MB(most))
	}
	h.Eventually("no lease is left", func() bool { return h.Metric("model_leases") == 0 })
	h.Stop(hangs)
}
