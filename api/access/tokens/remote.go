package tokens

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"
)

// times are the intervals and timeouts of a remote source.
type times struct {
	refresh time.Duration // after a successful fetch
	retry   time.Duration // after a failed fetch
	ask     time.Duration // between two fetches for unknown kids, from any callers
	fetch   time.Duration // for a whole fetch
	wait    time.Duration // how long a request waits for a fetch
}

func defaultTimes() times {
	return times{refresh: 5 * time.Minute, retry: 30 * time.Second, ask: 30 * time.Second, fetch: 10 * time.Second, wait: 2 * time.Second}
}

const (
	maxWaiting = 64 // requests that wait for a fetch
	maxHops    = 3  // redirects
)

// remote is a source that is fetched over https. The keys of the last fetch stay
// valid while the source is down.
type remote struct {
	held
	url        string
	algorithms []string
	client     *http.Client
	log        *slog.Logger
	observe    func(error)
	times      times
	wake       chan struct{}

	mu      sync.Mutex
	asked   time.Time     // time of the last fetch for an unknown kid
	late    bool          // a fetch is due as soon as it is allowed
	fetched chan struct{} // closed when the wanted or running fetch ends; nil: there is none
	waiting int
}

// newRemote returns a source. Only run fetches from it.
func newRemote(url, ca string, algorithms []string, when times, log *slog.Logger, observe func(error)) (*remote, error) {
	client, err := newClient(ca, when.fetch)
	if err != nil {
		return nil, err
	}
	return &remote{
		url: url, algorithms: algorithms, client: client, times: when, log: log, observe: observe,
		wake: make(chan struct{}, 1), fetched: make(chan struct{}), // run begins with a fetch
	}, nil
}

func newClient(ca string, patience time.Duration) (*http.Client, error) {
	var roots *x509.CertPool // nil: the system's
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("reading the CAs of a key set: %w", err)
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading the CAs of a key set: %s holds no certificate", ca)
		}
	}
	return &http.Client{
		Timeout: patience,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, DisableKeepAlives: true, DisableCompression: true,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if r.URL.Scheme != "https" {
				return errors.New("it redirects away from https")
			}
			if len(via) >= maxHops {
				return fmt.Errorf("it redirects more than %d times", maxHops)
			}
			return nil
		},
	}, nil
}

// run implements source.
func (r *remote) run(ctx context.Context) {
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			r.ended()
			return
		case <-next.C:
		case <-r.wake:
		}
		r.begun()
		err := r.fetch(ctx)
		r.ended()
		if ctx.Err() != nil {
			return
		}
		after := r.times.refresh
		if err != nil {
			after = r.times.retry
			r.log.Error("the keys of tokens cannot be fetched: those that were fetched last stay in use", "url", r.url, "known", r.set.Load() != nil, "error", err)
		}
		if r.observe != nil {
			r.observe(err)
		}
		next.Reset(after)
	}
}

// begun records that a fetch runs, so that requests can wait for it.
func (r *remote) begun() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fetched == nil {
		r.fetched = make(chan struct{})
	}
}

// ended wakes the requests that wait for a fetch.
func (r *remote) ended() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fetched != nil {
		close(r.fetched)
		r.fetched = nil
	}
}

func (r *remote) fetch(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return fmt.Errorf("requesting keys: %w", err)
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	res, err := r.client.Do(req)
	if err != nil {
		return fmt.Errorf("requesting keys: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("requesting keys: the answer is %s", res.Status)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxSetBytes+1))
	if err != nil {
		return fmt.Errorf("reading keys: %w", err)
	}
	set, err := parseJWKS(data, r.algorithms)
	if err != nil {
		return err
	}
	r.replace(data, set)
	return nil
}

// find implements source. It returns known keys at once. For an unknown kid it waits
// for a fetch, within bounds.
func (r *remote) find(ctx context.Context, alg, kid string) ([]any, uint64) {
	if found, generation := r.look(alg, kid); found != nil {
		return found, generation
	}
	if !r.wait(ctx) {
		return nil, 0
	}
	return r.look(alg, kid)
}

// wait starts a fetch, or waits for the running one. It reports whether one has
// ended.
func (r *remote) wait(ctx context.Context) bool {
	done := r.join()
	if done == nil {
		return false
	}
	defer func() {
		r.mu.Lock()
		r.waiting--
		r.mu.Unlock()
	}()
	over := time.NewTimer(r.times.wait)
	defer over.Stop()
	select {
	case <-done:
		return true
	case <-over.C:
	case <-ctx.Done():
	}
	return false
}

// join counts a waiting request and returns the channel that is closed when the
// fetch ends. It returns nil if no more requests may wait.
func (r *remote) join() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fetched == nil && !r.ask() || r.waiting >= maxWaiting {
		return nil
	}
	r.waiting++
	return r.fetched
}

// ask starts a fetch, or schedules one if the last was too recent: otherwise a
// caller who sends unknown kids at the right times could keep new keys from being
// seen. The lock must be held. ask reports whether the fetch starts now.
func (r *remote) ask() bool {
	now := time.Now()
	if since := now.Sub(r.asked); !r.asked.IsZero() && since < r.times.ask {
		if !r.late {
			r.late = true
			time.AfterFunc(r.times.ask-since, func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.late, r.asked = false, time.Now()
				r.rouse()
			})
		}
		return false
	}
	r.asked, r.fetched = now, make(chan struct{})
	r.rouse()
	return true
}

// rouse wakes run to fetch.
func (r *remote) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
