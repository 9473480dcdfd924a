package attack

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"crypto/tls"
	"crypto/x509"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

// provider is a running OpenID provider.
type provider struct {
	cmd                 *exec.Cmd
	issuer, keys, token string
	client              *http.Client
}

// startProvider starts the provider of tools/issuer, and asks it where its keys are.
func startProvider(t *testing.T, dir string) *provider {
	t.Helper()
	binary := filepath.Join(testkit.Root(), "bin", "issuer")
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("run `make bin/issuer` first: %v", err)
	}
	own := (*authority)(nil).issue(t, "issuer", time.Now().Add(time.Hour))
	cert, key := own.files(t, dir, "provider")
	p := &provider{cmd: exec.Command(binary, "-cert", cert, "-key", key)}
	out, err := p.cmd.StdoutPipe()
	check(t, err)
	p.cmd.Stderr = os.Stderr
	check(t, p.cmd.Start())
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("the provider ended with %v", err)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	check(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(own.cert)
	p.client = &http.Client{Timeout: hosttest.Hangs, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	t.Cleanup(p.client.CloseIdleConnections)
	var about struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
		Token  string `json:"token_endpoint"`
	}
	resp, err := p.client.Get(strings.TrimSpace(line) + "/.well-known/openid-configuration")
	check(t, err)
	defer resp.Body.Close()
	check(t, json.NewDecoder(resp.Body).Decode(&about))
	p.issuer, p.keys, p.token = about.Issuer, about.Keys, about.Token
	return p
}

// get gets a token of the provider by its grant for services.
func (p *provider) get(audience, role string) (string, error) {
	resp, err := p.client.PostForm(p.token, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"sid1"}, "client_secret": {"verysecret"}, "scope": {"audience:" + audience + " role:" + role},
	})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var got struct {
		Token string `json:"access_token"`
	}
	text, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, json.Unmarshal(text, &got)); err != nil || got.Token == "" {
		return "", fmt.Errorf("%s: %s: %w", resp.Status, text, err)
	}
	return got.Token, nil
}

// kid returns the key that has signed a token.
func kid(t *testing.T, token string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(token[:strings.Index(token, ".")])
	var header struct{ Kid string }
	check(t, err, json.Unmarshal(text, &header))
	return header.Kid
}

// TestProvider has a host accept the tokens of a real OpenID provider, and no others of
// it. The provider signs with a new key while requests run that show tokens of the old
// and of the new one: none of them is refused.
func TestProvider(t *testing.T) {
	place := hosttest.NewPlace(t)
	testkit.CopyModel(t, place.Models, "ecod-c", "good", "1.0.0", nil)
	p := startProvider(t, place.Root)
	h := hosttest.Start(t, place, hosttest.Options{Config: fmt.Sprintf("server: {environment: production}\nauth:\n  jwt:\n    - {issuer: %q, audience: pynomaly, jwks: %s, ca: %s, algorithms: [ES256], roles: {scores: viewer, runs: operator}}\n",
		p.issuer, p.keys, filepath.Join(place.Root, "provider.pem"))})
	get := func(audience, role string) string {
		t.Helper()
		token, err := p.get(audience, role)
		check(t, err)
		return token
	}
	h.Eventually("the model is served", func() bool {
		return ask(t, h, "POST", predictPath, hosttest.GoodBody, get("pynomaly", "scores")) == 200
	})
	first := get("pynomaly", "scores")
	for _, c := range []struct {
		name, method, path, token string
		want                      int
	}{
		{"a viewer's", "POST", predictPath, first, 200}, {"a viewer's, to load a model", "POST", modelsPath + "/good/load", first, 403}, {"an operator's, to load a model", "POST", modelsPath + "/good/load", get("pynomaly", "runs"), 200},
		{"of another audience", "POST", predictPath, get("shop", "runs"), 401}, {"of no role of the host's", "POST", predictPath, get("pynomaly", "cooks"), 403},
		{"with another signature", "POST", predictPath, first[:len(first)-8] + "AAAAAAAA", 401}, {"none", "POST", predictPath, "", 401},
	} {
		if got := ask(t, h, c.method, c.path, hosttest.GoodBody, c.token); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	var sent, refused, renewed atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() { // half of them keep their token, half get one for each request
			for token := first; ; sent.Add(1) {
				select {
				case <-stop:
					return
				default:
				}
				if i%2 == 0 {
					var err error
					if token, err = p.get("pynomaly", "scores"); err != nil {
						t.Error(err)
						return
					}
				}
				if status := ask(t, h, "POST", predictPath, hosttest.GoodBody, token); status != 200 {
					refused.Add(1)
				} else if kid(t, token) != kid(t, first) {
					renewed.Add(1)
				}
			}
		})
	}
	h.Eventually("requests run", func() bool { return sent.Load() > 100 })
	check(t, p.cmd.Process.Signal(syscall.SIGHUP))
	h.Eventually("tokens of the new key are accepted", func() bool { return renewed.Load() > 100 || refused.Load() > 0 })
	more := sent.Load() + 100
	h.Eventually("requests go on", func() bool { return sent.Load() >= more })
	close(stop)
	wg.Wait()
	if refused.Load() > 0 {
		t.Errorf("%d of %d requests were refused while the keys changed", refused.Load(), sent.Load())
	}
	t.Logf("%d requests, %d of them with tokens of the new key, %d refused", sent.Load(), renewed.Load(), refused.Load())
}

// ask sends a request with a token, and returns the status.
func ask(t *testing.T, h *hosttest.Host, method, path, body, token string) int {
	req, err := http.NewRequestWithContext(t.Context(), method, h.URL+path, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Timeout: hosttest.Hangs, Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}}
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
