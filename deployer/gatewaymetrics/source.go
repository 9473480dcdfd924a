package gatewaymetrics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	promapi "github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// Reader reads gateways. The zero value reads with the limits of its fields' comments.
// It may be used by several goroutines.
type Reader struct {
	Timeout  time.Duration // of one reading; 0 is 3 s
	MaxBytes int64         // of one body; 0 is 32 MiB
}

func (r Reader) timeout() time.Duration { return cmp.Or(r.Timeout, 3*time.Second) }
func (r Reader) maxBytes() int64        { return cmp.Or(r.MaxBytes, 32<<20) }

// page is what one instance of a gateway shows.
type page struct {
	name   string
	series []Series
}

// Read reads what all instances of a gateway have counted for both revisions, indexed
// by Side. It holds no connection open afterwards.
func (r Reader) Read(ctx context.Context, m *v1alpha1.GatewayMetrics, targets [sides]Target) ([]Reading, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout())
	defer cancel()
	ask := r.scrape
	if m.Kind == v1alpha1.MetricsPrometheus {
		ask = r.query
	}
	pages, err := ask(ctx, m.URL, targets)
	if err != nil {
		return nil, fmt.Errorf("reading the gateway's metrics: %w", err)
	}
	out := make([]Reading, 0, len(pages))
	for _, p := range pages {
		read := Reading{Name: p.name, Started: started(p.series)}
		for side, t := range targets {
			if read.Counts[side], err = Of(m.Kind, p.series, t); err != nil {
				return nil, fmt.Errorf("reading the gateway's metrics at %s: %w", p.name, err)
			}
		}
		out = append(out, read)
	}
	return out, nil
}

// started returns when the process started, if the page says so.
func started(all []Series) time.Time {
	for _, s := range all {
		if s.Name == processStart && s.Value > 0 && s.Value < 1<<40 {
			return time.UnixMicro(int64(s.Value * 1e6)).UTC()
		}
	}
	return time.Time{}
}

// scrape reads the page of metrics at each address of a URL's host.
func (r Reader) scrape(ctx context.Context, at string, _ [sides]Target) ([]page, error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, fmt.Errorf("gatewayMetrics.url: %w", err)
	}
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	addresses, err := net.DefaultResolver.LookupHost(ctx, u.Hostname())
	if err != nil {
		return nil, fmt.Errorf("looking %s up: %w", u.Hostname(), err)
	}
	slices.Sort(addresses)
	addresses = slices.Compact(addresses)
	if len(addresses) > mostInstances {
		return nil, fmt.Errorf("%s has %d addresses, and %d can be read one by one: let a Prometheus scrape them", u.Hostname(), len(addresses), mostInstances)
	}
	type answer struct {
		page
		err error
	}
	answers := make(chan answer, len(addresses)) // nobody waits for room
	for _, address := range addresses {
		go func() {
			name := net.JoinHostPort(address, port)
			series, err := r.get(ctx, at, name)
			answers <- answer{page{name, series}, err}
		}()
	}
	var out []page
	var errs error
	for range addresses {
		a := <-answers
		out, errs = append(out, a.page), errors.Join(errs, a.err)
	}
	slices.SortFunc(out, func(a, b page) int { return strings.Compare(a.name, b.name) })
	return out, errs
}

// get reads the page of one address.
func (r Reader) get(ctx context.Context, at, address string) ([]Series, error) {
	var dialer net.Dialer
	c := r.client(&http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, address)
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", address, err)
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4")
	resp, err := c.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", address, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking %s: it answers %s", address, resp.Status)
	}
	series, err := Parse(resp.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, fmt.Errorf("asking %s: its metrics are longer than %d MiB: let a Prometheus scrape them", address, large.Limit>>20)
	case err != nil:
		return nil, fmt.Errorf("asking %s: %w", address, err)
	}
	return series, nil
}

// client returns a client that keeps no connection, follows no redirect and reads
// bodies of at most r.MaxBytes.
func (r Reader) client(t *http.Transport) *http.Client {
	t.DisableKeepAlives = true
	return &http.Client{Transport: bounded{t, r.maxBytes()}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

type bounded struct {
	next http.RoundTripper
	most int64
}

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, b.most)
	}
	return resp, err //nolint:wrapcheck // the client says what was asked
}

// query reads the last values that a Prometheus has scraped.
func (r Reader) query(ctx context.Context, at string, targets [sides]Target) ([]page, error) {
	c, err := promapi.NewClient(promapi.Config{Address: at, Client: r.client(&http.Transport{Proxy: http.ProxyFromEnvironment})})
	if err != nil {
		return nil, fmt.Errorf("gatewayMetrics.url: %w", err)
	}
	v, _, _, err := promv1.NewAPI(c).Query(ctx, expression(targets), time.Time{})
	if err != nil {
		return nil, fmt.Errorf("asking Prometheus: %w", err)
	}
	vector, ok := v.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("asking Prometheus: %s is not a vector", v.Type())
	}
	by := map[string]*page{}
	seen := map[string]bool{} // a pod that several jobs scrape would count twice
	var out []*page
	for _, s := range vector {
		labels := make(map[string]string, len(s.Metric))
		for k, v := range s.Metric {
			labels[string(k)] = string(v)
		}
		name := cmp.Or(labels["pod"], labels["instance"])
		p := by[name]
		if p == nil {
			p = &page{name: name}
			by[name], out = p, append(out, p)
		}
		if key := name + "\x00" + own(labels); !seen[key] {
			seen[key] = true
			p.series = append(p.series, Series{labels["__name__"], labels, float64(s.Value)})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("asking Prometheus: it has no %s or %s of Service %s or %s: does it scrape the gateway?", traefikRequests, envoyRequests, targets[Update].Service, targets[Stable].Service)
	}
	pages := make([]page, len(out))
	for i, p := range out {
		pages[i] = *p
	}
	slices.SortFunc(pages, func(a, b page) int { return strings.Compare(a.name, b.name) })
	return pages, nil
}

// own joins the labels that are the gateway's own.
func own(labels map[string]string) string {
	var out strings.Builder
	for _, name := range []string{"__name__", "service", "code", "method", "protocol", "le", "envoy_cluster_name", "envoy_response_code_class"} {
		out.WriteString(labels[name] + "\x00")
	}
	return out.String()
}

// expression selects the series of the targets.
func expression(targets [sides]Target) string {
	names := make([]string, 0, len(targets)+1)
	for _, t := range targets {
		names = append(names, regexp.QuoteMeta(t.Service))
	}
	services := strings.Join(names, "|")
	clusters := strings.Join(append(names, regexp.QuoteMeta(targets[Update].rule())), "|")
	return fmt.Sprintf(`{__name__=~"%s|%s_bucket",service=~%q} or {__name__=~"%s|%s_bucket",envoy_cluster_name=~%q}`,
		traefikRequests, traefikDurations, ".*("+services+").*", envoyRequests, envoyDurations, ".*("+clusters+").*")
}
