package admin_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/access/gate"
	"github.com/pynomaly/pynomaly-runtime/api/access/limits"
	"github.com/pynomaly/pynomaly-runtime/api/admin"
)

// byName has keys that are the names of their roles.
type byName struct{ roles *access.Roles }

func (b byName) Lookup(key []byte, _ time.Time) (*access.Principal, error) {
	actions, err := b.roles.Actions(string(key))
	if err != nil {
		return nil, &access.Error{Is: access.ErrUnauthenticated, Reason: "unknown_key", Public: "it is unknown"}
	}
	return &access.Principal{Kind: access.Key, ID: string(key), Actions: actions, Models: access.AllModels()}, nil
}

func serve(t *testing.T, mode access.Mode) string {
	t.Helper()
	roles, err := access.NewRoles(nil)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	g, err := gate.New(gate.Config{
		Rules:  &gate.Rules{Authenticator: access.NewAuthenticator(access.Config{Mode: mode, Keys: byName{roles}, Now: time.Now}), Public: []string{""}},
		Limits: limits.New(limits.Rates{}, time.Now), Logins: limits.NewLogins(time.Now), Log: log, Reg: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := admin.New(admin.Config{Gate: g, Loopback: true, Show: func() any { return map[string]string{"log.level": "info"} }, Log: log})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(ln); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { _ = s.Shutdown(context.Background()); wg.Wait() })
	return "http://" + ln.Addr().String()
}

// TestAdmin checks that only admins read profiles and the configuration, and callers
// on this machine if no credentials are configured.
func TestAdmin(t *testing.T) {
	open, run, configured := serve(t, access.Open), serve(t, access.RunKey), serve(t, access.Configured)
	for _, c := range []struct {
		at, path, key, header string
		want                  int
		has                   string
	}{
		{open, "/config", "", "", 200, "log.level"}, {open, "/debug/pprof/", "", "", 200, "goroutine"}, {open, "/debug/pprof/heap?debug=1", "", "", 200, "heap profile"},
		{open, "/config", "", "Host: evil.example", 403, "not a name of this host"}, {open, "/nothing", "", "", 404, ""},
		{run, "/config", "", "", 200, ""}, {run, "/config", "", "X-Forwarded-For: 192.0.2.1", 401, "requires credentials"}, {run, "/config", "wrong", "", 401, ""},
		{configured, "/config", "", "", 401, "requires credentials"}, {configured, "/debug/pprof/", "", "", 401, ""}, {configured, "/config", "operator", "", 403, "role"},
		{configured, "/config", "admin", "", 200, "log.level"}, {configured, "/config", "wrong", "", 401, "unknown"},
	} {
		req, err := http.NewRequest(http.MethodGet, c.at+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.key != "" {
			req.Header.Set("X-API-Key", c.key)
		}
		if name, value, ok := strings.Cut(c.header, ": "); ok {
			req.Header.Set(name, value)
			if name == "Host" {
				req.Host = value
			}
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != c.want || !strings.Contains(string(text), c.has) {
			t.Errorf("%+v: %d %s", c, resp.StatusCode, text)
		}
	}
}
