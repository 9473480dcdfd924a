// Package client sends requests to a host of pynomaly-runtime: it scores rows, and
// it reads and manages models.
//
// If the host reports a problem, the error is an *api.Problem, for errors.As.
// Another unexpected answer is a *StatusError. The package imports only package api
// and the standard library.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/pynomaly/pynomaly-runtime/api"
)

// Config describes the host and the caller.
type Config struct {
	// URL is the address of the host, such as https://models.example:8443. Its path,
	// if any, is put before those of the API.
	URL string
	// Key is the API key or token of the caller. It is sent as Authorization:
	// Bearer, and is in no error.
	Key string
	// TLS says whom to trust, and has the caller's certificate for hosts that
	// require one. Nil means the standard library's defaults. It must be nil if HTTP
	// is set.
	TLS *tls.Config
	// HTTP sends the requests, with its own connections, timeouts and redirects. Nil
	// means a client that has no timeout, keeps connections and follows no
	// redirects.
	HTTP *http.Client
	// MaxAnswer is the largest answer in bytes; 0 means 64 MiB.
	MaxAnswer int64
}

const (
	defaultAnswer = 64 << 20
	idleTimeout   = 30 * time.Second // shorter than the host's, which would otherwise close connections under a request
	connectMost   = 10 * time.Second
	idleMost      = 16 // connections that are kept
)

// ErrTooLarge means that an answer has more bytes than Config.MaxAnswer.
var ErrTooLarge = errors.New("the answer is too large")

// Client sends requests to one host. It is safe for concurrent use.
type Client struct {
	base *url.URL
	key  string
	http *http.Client
	most int64
}

// New returns a client. It sends nothing.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(cfg.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the host's URL cannot be read: %w", errors.Unwrap(err)) // the outer error quotes the URL
	case base.Scheme != "http" && base.Scheme != "https", base.Host == "":
		return nil, errors.New("the host's URL must be such as http://127.0.0.1:8080")
	case base.User != nil:
		return nil, errors.New("the host's URL must not hold credentials: use Key")
	case base.RawQuery != "" || base.Fragment != "":
		return nil, errors.New("the host's URL must not have a query or a fragment")
	case cfg.HTTP != nil && cfg.TLS != nil:
		return nil, errors.New("HTTP has its own TLS configuration: set HTTP or TLS")
	case strings.ContainsFunc(cfg.Key, unicode.IsControl):
		return nil, errors.New("the key has characters that a header cannot have, such as line ends")
	}
	c := &Client{base: base, key: cfg.Key, http: cfg.HTTP, most: cfg.MaxAnswer}
	if c.http == nil {
		c.http = newHTTP(cfg.TLS)
	}
	if c.most <= 0 {
		c.most = defaultAnswer
	}
	return c, nil
}

// newHTTP returns the default HTTP client. It follows no redirects, so that the key
// goes only to the configured host. Hosts send none.
func newHTTP(secure *tls.Config) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: secure,
			MaxIdleConnsPerHost: idleMost, IdleConnTimeout: idleTimeout, TLSHandshakeTimeout: connectMost,
		},
	}
}

// WithKey returns a client that uses the same host and connections with another key.
func (c *Client) WithKey(key string) (*Client, error) {
	return New(Config{URL: c.base.String(), Key: key, HTTP: c.http, MaxAnswer: c.most})
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Option changes a request.
type Option func(http.Header)

// RequestID names a request. The host's log and its answer have the name. It may
// have up to 128 printable ASCII characters without spaces.
func RequestID(id string) Option { return func(h http.Header) { h.Set("X-Request-ID", id) } }

// RoutingKey makes requests with the same key go to the same version of a model
// whose requests are split between versions.
func RoutingKey(key string) Option { return func(h http.Header) { h.Set("X-Routing-Key", key) } }

// call is a request to the host.
type call struct {
	method string
	path   string
	query  url.Values
	body   any   // nil: none
	also   int   // another status than 200 whose body is an answer
	wrong  error // why it cannot be sent
}

// do sends a request and decodes the answer.
func (c *Client) do(ctx context.Context, k call, into any, options ...Option) error {
	name := k.method + " " + k.path
	req, err := c.request(ctx, k)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, o := range options {
		o(req.Header)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("asking the host: %w", err)
	}
	defer resp.Body.Close()
	text, err := read(resp.Body, c.most)
	if err != nil {
		return fmt.Errorf("reading the answer to %s: %w", name, err)
	}
	answered := resp.StatusCode == http.StatusOK || resp.StatusCode == k.also
	if !answered || strings.HasPrefix(resp.Header.Get("Content-Type"), api.ProblemContentType) {
		return fmt.Errorf("%s: %w", name, failure(resp.StatusCode, resp.Header, text))
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("reading the answer to %s: %w", name, err)
	}
	return nil
}

// request makes the HTTP request of a call.
func (c *Client) request(ctx context.Context, k call) (*http.Request, error) {
	if k.wrong != nil {
		return nil, k.wrong
	}
	var body io.Reader
	if k.body != nil {
		text, err := json.Marshal(k.body)
		if err != nil {
			return nil, fmt.Errorf("encoding the body: %w", err)
		}
		body = bytes.NewReader(text)
	}
	to := c.base.JoinPath(k.path)
	to.RawQuery = k.query.Encode()
	req, err := http.NewRequestWithContext(ctx, k.method, to.String(), body)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	if k.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	return req, nil
}

// read reads at most most bytes. It returns ErrTooLarge if there are more.
func read(from io.Reader, most int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(from, most+1))
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what was read
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrTooLarge, most)
	}
	return text, nil
}
