//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// load sends requests of one row at a constant rate. It checks each response: the
// status, the model, and that a row always has the same score.
type load struct {
	t      *testing.T
	key    string
	host   string
	url    string
	client *http.Client
	rows   []string      // arrays of numbers
	names  func() string // the version that a request names; "": none
	open   chan *socket  // nil: requests are single ones, not messages of WebSockets
	every  int           // this share of the requests is sent by other
	other  func(row int) (string, float64, error)

	mu       sync.Mutex
	sent     int
	lost     []string // the first few, with their time
	failed   int
	versions map[string]int
	scores   []float64 // by row, of good versions; NaN: not seen yet
	strange  map[string]bool
	recent   []answer

	stop context.CancelFunc
	done sync.WaitGroup
}

type answer struct {
	at      time.Time
	version string
}

const (
	maxPending = 256
	keepRecent = 20_000
)

func gateway() string {
	if url := os.Getenv("E2E_GATEWAY"); url != "" {
		return url
	}
	return "http://127.0.0.1:8000"
}

// startLoad starts to send requests with an API key to a host name of the gateway.
// Versions in strange have other scores.
func startLoad(t *testing.T, key, host string, rate int, strange ...string) *load {
	t.Helper()
	l := newLoad(t, key, host, strange...)
	l.start(rate)
	return l
}

// newLoad returns a load that has not started.
func newLoad(t *testing.T, key, host string, strange ...string) *load {
	t.Helper()
	l := &load{
		t: t, key: key, host: host, url: gateway() + "/api/v1/predict", versions: map[string]int{}, strange: map[string]bool{},
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: maxPending}},
	}
	for _, v := range strange {
		l.strange[v] = true
	}
	text, err := os.ReadFile("../testdata/reference/data/pima-train.csv")
	if err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines[1:] {
		l.rows = append(l.rows, strings.Join(line[:8], ","))
		l.scores = append(l.scores, math.NaN())
	}
	l.stop = func() {}
	return l
}

// start begins to send requests.
func (l *load) start(rate int) {
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	l.done.Go(func() { l.run(ctx, rate) })
}

// body returns a request for a row.
func (l *load) body(row int) string {
	if l.names != nil {
		if v := l.names(); v != "" {
			return `{"version": "` + v + `", "data": [` + l.rows[row] + `]}`
		}
	}
	return `{"data": [` + l.rows[row] + `]}`
}

func (l *load) run(ctx context.Context, rate int) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	slots := make(chan struct{}, maxPending)
	var pending sync.WaitGroup
	defer pending.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		slots <- struct{}{}
		pending.Go(func() {
			// In random order: if a gateway distributes requests in turns, each
			// revision would otherwise get only some of the rows.
			l.ask(rand.IntN(len(l.rows)))
			<-slots
		})
	}
}

func (l *load) ask(row int) {
	start := time.Now()
	send := l.predict
	l.mu.Lock()
	if l.other != nil && rand.IntN(l.every) == 0 {
		send = l.other
	}
	l.mu.Unlock()
	version, score, err := send(row)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	if err == nil && !l.strange[version] {
		if known := l.scores[row]; math.IsNaN(known) {
			l.scores[row] = score
		} else if known != score {
			err = fmt.Errorf("row %d scored %v by %s, %v before", row, score, version, known)
		}
	}
	if err != nil {
		if l.failed++; len(l.lost) < 10 {
			l.lost = append(l.lost, fmt.Sprintf("%s after %s: %v", start.Format("15:04:05.000"), time.Since(start).Round(time.Millisecond), err))
		}
		return
	}
	l.versions[version]++
	l.recent = append(l.recent, answer{time.Now(), version})
	if len(l.recent) > 2*keepRecent {
		l.recent = append(l.recent[:0], l.recent[keepRecent:]...)
	}
}

// predict asks for the score of a row, and returns the version that answered, too.
func (l *load) predict(row int) (string, float64, error) {
	if l.open != nil {
		return l.message(row)
	}
	req, err := http.NewRequest(http.MethodPost, l.url, strings.NewReader(l.body(row)))
	if err != nil {
		return "", 0, err
	}
	req.Host = l.host
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-API-Key", l.key)
	resp, err := l.client.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return "", 0, fmt.Errorf("%s: %.300s", resp.Status, text)
	}
	return read(text)
}

// read reads a prediction.
func read(text []byte) (string, float64, error) {
	var p struct {
		Score   *float64 `json:"score"`
		Model   string   `json:"model_id"`
		Version string   `json:"model_version"`
	}
	if err := json.Unmarshal(text, &p); err != nil || p.Score == nil || p.Model != model {
		return "", 0, fmt.Errorf("it is no prediction of %s: %.300s", model, text)
	}
	return p.Version, *p.Score, nil
}

// last returns when a version answered last.
func (l *load) last(version string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range slices.Backward(l.recent) {
		if a.version == version {
			return a.at
		}
	}
	return time.Time{}
}

// mark returns the present counts.
func (l *load) mark() (sent, failed int, versions map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent, l.failed, maps.Clone(l.versions)
}

// end stops the load.
func (l *load) end() {
	l.stop()
	l.done.Wait()
	l.client.CloseIdleConnections()
	l.hangUp()
}
