package rest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/access"
	gates "github.com/pynomaly/pynomaly-runtime/api/access/gate"
	"github.com/pynomaly/pynomaly-runtime/api/access/limits"
	"github.com/pynomaly/pynomaly-runtime/api/audit"
	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// person returns a principal with a role, who sees some models.
func person(t testing.TB, role string, models access.Models) *access.Principal {
	t.Helper()
	roles, err := access.NewRoles(nil)
	if err != nil {
		t.Fatal(err)
	}
	actions, err := roles.Actions(role)
	if err != nil {
		t.Fatal(err)
	}
	return &access.Principal{Kind: access.Key, ID: role, Name: role, Roles: []string{role}, Actions: actions, Models: models}
}

// spelledOut accepts keys that describe their principal: <role>:<patterns of
// models>.
type spelledOut struct {
	t       testing.TB
	revoked *atomic.Bool
}

// Lookup implements access.Keys.
func (s spelledOut) Lookup(key []byte, _ time.Time) (*access.Principal, error) {
	role, models, _ := strings.Cut(string(key), ":")
	seen, err := access.ParseModels(strings.Split(models, ","))
	if err != nil || !slices.Contains([]string{"viewer", "operator", "admin", "controller"}, role) || s.revoked.Load() {
		return nil, &access.Error{Is: access.ErrUnauthenticated, Reason: "unknown_key", Public: "this host does not know the API key"}
	}
	return person(s.t, role, seen), nil
}

// gateOf returns a gate that accepts such keys. change may change its configuration.
func gateOf(t testing.TB, mode access.Mode, change func(*access.Config)) *gates.Gate {
	t.Helper()
	return gateWith(t, mode, change, nil)
}

func gateWith(t testing.TB, mode access.Mode, change func(*access.Config), more func(*gates.Config)) *gates.Gate {
	t.Helper()
	a := access.Config{Mode: mode, Keys: spelledOut{t, new(atomic.Bool)}, Now: time.Now}
	if change != nil {
		change(&a)
	}
	c := gates.Config{
		Rules:  &gates.Rules{Authenticator: access.NewAuthenticator(a), Public: []string{"/health", "/ready", "/metrics"}},
		Limits: limits.New(limits.Rates{}, time.Now), Logins: limits.NewLogins(time.Now), Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(),
	}
	if more != nil {
		more(&c)
	}
	g, err := gates.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// mayDo is the table of roles and actions.
func mayDo(role string, action rest.Action) bool {
	view := []rest.Action{rest.ActionPublic, rest.ActionPredict, rest.ActionRead, rest.ActionMetrics}
	switch role {
	case "viewer":
		return slices.Contains(view, action)
	case "controller":
		return slices.Contains([]rest.Action{rest.ActionPublic, rest.ActionRead, rest.ActionMetrics, rest.ActionSamples}, action)
	case "operator":
		return slices.Contains(append(view, rest.ActionLearn, rest.ActionLoadModel, rest.ActionAliases, rest.ActionJobs), action)
	}
	return role == "admin"
}

// TestEveryRouteByEveryRole checks on every route that only what a role allows is
// answered, that a hidden model does not exist for the caller, and that a missing or
// wrong credential gets only public routes.
func TestEveryRouteByEveryRole(t *testing.T) {
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "pima-lof", "own", "1.0.0", nil)
	testkit.CopyModel(t, dir, "pima-lof", "secret", "1.0.0", nil)
	h := testkit.Serve(t, testkit.Options{
		Dir: dir, Models: func(c *registry.Config) { c.Lazy = true },
		REST: func(c *rest.Config) {
			c.Gate = gateWith(t, access.Configured, nil, func(c *gates.Config) { c.Logins = limits.NewLogins(hurrying()) })
			c.Samples, c.Loopback = 10, false
		},
	})
	tried := 0
	for _, r := range h.Server.Routes() {
		public := slices.Contains([]string{"/health", "/ready", "/metrics"}, r.Path)
		for _, role := range []string{"viewer", "operator", "admin", "controller", "", "wrong"} {
			for _, model := range []string{"own", "secret"} {
				status, problem := sendAs(t, h, r, model, role)
				var want []int
				switch {
				case role == "wrong", role == "" && !public:
					want = []int{http.StatusUnauthorized}
				case public, len(r.Messages) > 0 && mayDo(role, r.Action):
					want = []int{http.StatusOK, http.StatusBadRequest} // no upgrade was asked for
				case r.Model == rest.ModelInPath && model == "secret":
					want = []int{http.StatusNotFound}
				case !mayDo(role, r.Action):
					want = []int{http.StatusForbidden}
				case r.Model == rest.ModelInBody && model == "secret":
					want = []int{http.StatusNotFound}
				default:
					want = []int{http.StatusOK, http.StatusConflict} // it does not learn
				}
				if tried++; strings.HasSuffix(r.Path, "/unload") && status == http.StatusOK {
					if lease, err := h.Registry.Load(t.Context(), "own", ""); err == nil { // for those that follow
						lease.Release()
					}
				}
				if !slices.Contains(want, status) {
					t.Errorf("%s %s by %q about %s: %d, want %v: %+v", r.Method, r.Path, role, model, status, want, problem)
				}
				if status == http.StatusNotFound && problem.ErrorType != api.ModelNotFound {
					t.Errorf("%s %s by %q about %s: %+v", r.Method, r.Path, role, model, problem)
				}
			}
		}
	}
	if tried < 150 {
		t.Errorf("%d were tried", tried)
	}
	all, err := h.Registry.List("secret")
	if err != nil || all[0].State != registry.StateAvailable {
		t.Errorf("the secret model is %+v, %v", all, err)
	}
}

// hurrying returns a clock so fast that no rate limit applies.
func hurrying() func() time.Time {
	var calls atomic.Int64
	return func() time.Time { return time.Unix(60*calls.Add(1), 0) }
}

// sendAs sends a request to a route as a caller who sees only the model own.
func sendAs(t *testing.T, h *testkit.Host, r rest.Route, model, role string) (int, api.Problem) {
	t.Helper()
	req := requestTo(t, h, r, model)
	if role != "" {
		req.Header.Set("X-API-Key", role+":own")
	}
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var p api.Problem
	if resp.StatusCode >= 400 {
		if err := json.Unmarshal(text, &p); err != nil {
			t.Errorf("%s %s: %s", r.Method, r.Path, text)
		}
		if want := resp.StatusCode == http.StatusUnauthorized; want != (resp.Header.Get("WWW-Authenticate") != "") {
			t.Errorf("%s %s: %d with WWW-Authenticate %q", r.Method, r.Path, resp.StatusCode, resp.Header.Get("WWW-Authenticate"))
		}
	}
	return resp.StatusCode, p
}

// TestMetricsOfOwnModels checks that callers see only the metrics of the models that
// they see.
func TestMetricsOfOwnModels(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) { c.Gate = gateOf(t, access.Configured, nil) }})
	for key, models := range map[string][2]bool{"": {true, true}, "viewer:pima": {true, false}, "viewer:*": {true, true}, "viewer:x": {false, false}} {
		header := map[string]string{"X-API-Key": key}
		if key == "" {
			header = nil
		}
		resp, body := do(t, h, sent{method: "GET", path: "/metrics", header: header})
		if resp.StatusCode != http.StatusOK || strings.Contains(string(body), `"pima"`) != models[0] || strings.Contains(string(body), `"mammo"`) != models[1] || !strings.Contains(string(body), "model_leases") {
			t.Errorf("%q: %d\n%s", key, resp.StatusCode, body)
		}
	}
}

// TestRateLimits checks that a caller above its rate is told how long to wait, and
// that others are not.
func TestRateLimits(t *testing.T) {
	rates := limits.Rates{limits.Predict: {Count: 2, Per: time.Hour}, limits.BatchPredict: {Count: 1, Per: time.Hour}, limits.ModelManagement: {Count: 1, Per: time.Hour}}
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) {
		c.Gate = gateWith(t, access.Configured, nil, func(c *gates.Config) { c.Limits = limits.New(rates, time.Now) })
	}})
	one, many := `{"model_id":"pima","data":`+goodRow+`}`, `{"model_id":"pima","data":[`+goodRow+`]}`
	for i, c := range []struct {
		key, path, body string
		want            int
	}{
		{"viewer:*", "/api/v1/predict", one, 200}, {"viewer:*", "/api/v1/predict", one, 200}, {"viewer:*", "/api/v1/predict", one, 429},
		{"viewer:*", "/api/v1/predict/batch", many, 200}, {"viewer:*", "/api/v1/predict/batch", many, 429},
		{"operator:*", "/api/v1/predict", one, 200},
		{"operator:*", "/api/v1/models/pima/load", "", 200}, {"operator:*", "/api/v1/models/pima/load", "", 429},
		{"viewer:*", "/api/v1/models/pima/load", "", 403}, // who may not is not counted
	} {
		resp, body := do(t, h, sent{path: c.path, body: c.body, header: map[string]string{"X-API-Key": c.key, "Content-Type": "application/json"}})
		if resp.StatusCode != c.want {
			t.Errorf("%d: %d, want %d: %s", i, resp.StatusCode, c.want, body)
		}
		if limited := c.want == 429; limited != (resp.Header.Get("RateLimit") != "") || limited != (resp.Header.Get("Retry-After") != "") || limited != (resp.Header.Get("RateLimit-Policy") != "") {
			t.Errorf("%d: %v", i, resp.Header)
		}
	}
}

// TestAuditOfRequests checks that changes of the host and refusals are audited with
// their outcome, and that nothing is done if a required audit cannot be written.
func TestAuditOfRequests(t *testing.T) {
	out := &lines{}
	open := func(required bool) *audit.Log {
		l, err := audit.Open(audit.Config{Output: out, Required: required, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	start := func(required bool) *testkit.Host {
		return testkit.Serve(t, testkit.Options{Dir: twoModels(t), REST: func(c *rest.Config) {
			c.AuditPredictions = !required
			c.Gate = gateWith(t, access.Configured, nil, func(c *gates.Config) { c.Audit = open(required) })
		}})
	}
	h := start(false)
	for _, c := range []struct{ key, method, path, body, want string }{
		{"operator:*", "POST", "/api/v1/models/pima/load?version=1.0.0", "", `"principal":"operator","credential":{"kind":"key","id":"operator"},"address":"127.0.0.1","action":"load_model","model":"pima","version":"1.0.0","digest":"sha256:`},
		{"operator:*", "POST", "/api/v1/models/nothing/load", "", `"model":"nothing","outcome":"ModelNotFound"`},
		{"operator:*", "DELETE", "/api/v1/models/pima/unload", "", `"action":"load_model","model":"pima"`},
		{"admin:*", "POST", "/api/v1/models/pima/load", "", `"outcome":"ok"`},
		{"viewer:*", "POST", "/api/v1/models/pima/load", "", `"principal":"viewer","credential":{"kind":"key","id":"viewer"},"address":"127.0.0.1","action":"load_model","model":"pima","outcome":"denied"`},
		{"owner:*", "POST", "/api/v1/models/pima/load", "", `"action":"load_model","outcome":"refused: unknown_key"`},
		{"viewer:*", "POST", "/api/v1/predict", `{"model_id":"pima","data":` + goodRow + `}`, `"action":"predict","model":"pima","version":"`},
		{"viewer:*", "POST", "/api/v1/predict", `{"model_id":"pima","data":[1]}`, `"outcome":"RowError"`},
		{"viewer:*", "GET", "/api/v1/models", "", ""},
	} {
		out.reset()
		resp, body := do(t, h, sent{method: c.method, path: c.path, body: c.body, header: map[string]string{"X-API-Key": c.key, "Content-Type": "application/json", "X-Request-ID": "r-7"}})
		text := out.text()
		if c.want == "" && text != "" || !strings.Contains(text, c.want) || c.want != "" && (strings.Count(text, "\n") != 1 || !strings.Contains(text, `"request_id":"r-7"`)) {
			t.Errorf("%s %s: %d %s\n%s", c.method, c.path, resp.StatusCode, body, text)
		}
	}
	h = start(true)
	out.reset()
	load := sent{path: "/api/v1/models/pima/load", header: map[string]string{"X-API-Key": "operator:*"}}
	if resp, body := do(t, h, load); resp.StatusCode != http.StatusOK || strings.Count(out.text(), "\n") != 2 || !strings.Contains(out.text(), `"outcome":"begun"`) {
		t.Errorf("%d %s: %s", resp.StatusCode, body, out.text())
	}
	out.fail(io.ErrShortWrite)
	if resp, body := do(t, h, load); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "audit") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, body := do(t, h, sent{method: "GET", path: "/api/v1/models", header: load.header}); resp.StatusCode != http.StatusOK {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

// lines is a buffer that one goroutine writes and another reads.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
	err error
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, l.err
	}
	return l.buf.Write(p)
}

func (l *lines) text() string   { l.mu.Lock(); defer l.mu.Unlock(); return l.buf.String() }
func (l *lines) reset()         { l.mu.Lock(); defer l.mu.Unlock(); l.buf.Reset() }
func (l *lines) fail(err error) { l.mu.Lock(); defer l.mu.Unlock(); l.err = err }
