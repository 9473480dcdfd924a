package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/client"
	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// serve starts a host with a model m, whose score is the sum of its feature, and a
// stateful model, whose score is the number of rows that it has learned.
func serve(t testing.TB, change func(*rest.Config)) (*testkit.Host, *client.Client) {
	t.Helper()
	dir := t.TempDir()
	for id, extra := range map[string]string{"m": "", "state": "stateful: true\n"} {
		testkit.WriteModel(t, dir, id, map[string][]byte{"a": []byte(id), manifest.FileName: []byte(testkit.Patient(modeltest.Simple(id, "1.0.0") + extra))})
	}
	fake := &modeltest.Fake{Make: func(m *manifest.Manifest) sdk.Scorer {
		if m.Stateful {
			return &modeltest.Counter{}
		}
		return modeltest.Sums{}
	}}
	h := testkit.Serve(t, testkit.Options{Dir: dir, Backends: model.Backends{manifest.BackendONNX: fake}, REST: change})
	return h, to(t, client.Config{URL: h.URL})
}

func to(t testing.TB, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// checked returns a function that fails the test if a call failed.
func checked[T any](t testing.TB) func(*T, error) *T {
	return func(v *T, err error) *T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestEveryMethod checks each method against a real host.
func TestEveryMethod(t *testing.T) {
	_, c := serve(t, func(cfg *rest.Config) { cfg.Samples = 10 })
	ctx := t.Context()
	yes := true
	p := checked[api.Prediction](t)(c.Predict(ctx, &api.PredictRequest{ModelID: "m", Data: []float64{3}, ReturnConfidence: &yes}, client.RequestID("mine")))
	if p.Score != 3 || p.ModelVersion != "1.0.0" || p.RequestID != "mine" {
		t.Errorf("predict: %+v", p)
	}
	b := checked[api.BatchResponse](t)(c.PredictBatch(ctx, &api.BatchRequest{ModelID: "m", Data: []any{[]float64{1}, []string{"no"}, map[string]any{"x": 2}}}, client.RoutingKey("k")))
	if b.TotalFailed != 1 || b.Predictions[1].Error == nil || b.Predictions[2].Score != 2 {
		t.Errorf("batch: %+v", b)
	}
	if all := checked[api.ModelList](t)(c.Models(ctx)); all.Total != 2 {
		t.Errorf("models: %+v", all)
	}
	if m := checked[api.Model](t)(c.Model(ctx, "m")); m.ModelID != "m" || len(m.Versions) != 1 {
		t.Errorf("model: %+v", m)
	}
	if v := checked[api.ModelVersion](t)(c.Version(ctx, "m", "1.0.0")); v.Status != "loaded" || len(v.Features) != 1 {
		t.Errorf("version: %+v", v)
	}
	if s := checked[api.Stats](t)(c.Stats(ctx, "m", client.StatsQuery{Version: "1.0.0", Sketch: true})); s.Requests != 2 || s.Rows != 3 {
		t.Errorf("stats: %+v", s)
	}
	s := checked[api.Samples](t)(c.Samples(ctx, "m", client.SamplesQuery{Version: "1.0.0", Limit: 1}))
	if len(s.Rows) != 1 || s.Total == 0 {
		t.Fatalf("samples: %+v", s)
	}
	if after := checked[api.Samples](t)(c.Samples(ctx, "m", client.SamplesQuery{After: s.Total})); len(after.Rows) != 0 {
		t.Errorf("samples after the last: %+v", after)
	}
	r := checked[api.Replayed](t)(c.Replay(ctx, "m", &api.RowsRequest{Version: "1.0.0", Data: []any{s.Rows[0].Data, json.RawMessage(`["no"]`)}}))
	if r.Scores[0] == nil || *r.Scores[0] != s.Rows[0].Score || r.Scores[1] != nil {
		t.Errorf("replay: %+v", r)
	}
	if l := checked[api.Learned](t)(c.Learn(ctx, "state", &api.RowsRequest{Data: []any{[]float64{1}, []float64{2}}})); l.Rows != 2 {
		t.Errorf("learn: %+v", l)
	}
	if u := checked[api.Unloaded](t)(c.Unload(ctx, "m", "1.0.0")); len(u.Unloaded) != 1 {
		t.Errorf("unload: %+v", u)
	}
	if v := checked[api.ModelVersion](t)(c.Load(ctx, "m", "")); v.Status != "loaded" {
		t.Errorf("load: %+v", v)
	}
	if h := checked[api.Health](t)(c.Health(ctx)); h.Status != "healthy" {
		t.Errorf("health: %+v", h)
	}
	if r := checked[api.Ready](t)(c.Ready(ctx)); !r.Ready {
		t.Errorf("ready: %+v", r)
	}
}

// TestNotReady checks that Ready returns an answer for a host that is not ready.
func TestNotReady(t *testing.T) {
	h, c := serve(t, nil)
	h.Server.Drain()
	if r := checked[api.Ready](t)(c.Ready(t.Context())); r.Ready || r.Reason == "" {
		t.Errorf("%+v", r)
	}
}

// TestProblems checks that a host's problems can be told apart, and that answers of
// others are not problems.
func TestProblems(t *testing.T) {
	_, c := serve(t, nil)
	ctx := t.Context()
	long := strings.Repeat("x", 200)
	for name, k := range map[string]struct {
		ask  func() error
		want api.ErrorType
	}{
		"no such model":   {func() error { _, err := c.Stats(ctx, "none", client.StatsQuery{}); return err }, api.ModelNotFound},
		"no such version": {func() error { _, err := c.Version(ctx, "m", "9.0.0"); return err }, api.VersionNotFound},
		"no version":      {func() error { _, err := c.Version(ctx, "m", ""); return err }, api.VersionNotFound},
		"version of none": {func() error { _, err := c.Version(ctx, "none", "9.0.0"); return err }, api.ModelNotFound},
		"a bad row": {func() error {
			_, err := c.Predict(ctx, &api.PredictRequest{ModelID: "m", Data: []string{"no"}})
			return err
		}, api.RowError},
		"no rows": {func() error {
			_, err := c.PredictBatch(ctx, &api.BatchRequest{ModelID: "m", Data: []any{}})
			return err
		}, api.ValidationError},
		"a path for a model": {func() error { _, err := c.Model(ctx, "../health"); return err }, api.ValidationError},
		"dots":               {func() error { _, err := c.Unload(ctx, "..", ""); return err }, api.ValidationError},
		"no model":           {func() error { _, err := c.Model(ctx, ""); return err }, api.ValidationError},
		"a long name":        {func() error { _, err := c.Model(ctx, long); return err }, api.ValidationError},
		"not replayed": {func() error {
			_, err := c.Replay(ctx, "state", &api.RowsRequest{Data: []any{[]float64{1}}})
			return err
		}, api.NotFound}, // the host keeps no samples
	} {
		var p *api.Problem
		if err := k.ask(); !errors.As(err, &p) || p.ErrorType != k.want || p.Status != k.want.Status() {
			t.Errorf("%s: %v, want a %s", name, err, k.want)
		}
	}
	if _, err := c.Predict(ctx, &api.PredictRequest{Data: func() {}}); err == nil {
		t.Error("a row that cannot be encoded is sent")
	}
	gone := to(t, client.Config{URL: "http://127.0.0.1:1"})
	if _, err := gone.Health(ctx); err == nil {
		t.Error("nobody answers")
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Health(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}

// TestAnswersOfOthers checks the errors for answers of proxies and of servers that
// are not hosts.
func TestAnswersOfOthers(t *testing.T) {
	var status int
	header, body := http.Header{}, ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range header {
			w.Header()[k] = v
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	defer s.Close()
	c := to(t, client.Config{URL: s.URL + "/", MaxAnswer: 1000})
	ask := func(code int, h http.Header, text string) error {
		status, header, body = code, h, text
		_, err := c.Stats(t.Context(), "m", client.StatsQuery{})
		return err
	}
	var other *client.StatusError
	if err := ask(502, http.Header{"Retry-After": {"7"}}, "<html>\x1b[31mbad gateway"); !errors.As(err, &other) || other.Status != 502 || other.RetryAfter != 7*time.Second || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("a proxy: %v", err)
	}
	if err := ask(302, http.Header{"Location": {"http://127.0.0.1:1/"}}, ""); !errors.As(err, &other) || other.Status != 302 {
		t.Errorf("a redirect: %v", err)
	}
	var p *api.Problem
	text, err := json.Marshal(api.NewProblem(api.Overloaded, "", "later"))
	if err != nil {
		t.Fatal(err)
	}
	if err := ask(503, http.Header{"Retry-After": {"2"}}, string(text)); !errors.As(err, &p) || p.ErrorType != api.Overloaded || p.RetryAfter != 2*time.Second {
		t.Errorf("a host that is busy: %v", err)
	}
	if err := ask(200, nil, strings.Repeat(" ", 1001)); !errors.Is(err, client.ErrTooLarge) {
		t.Errorf("a large answer: %v", err)
	}
	for name, text := range map[string]string{"no JSON": "ok", "half": `{"model_id":`, "nothing": "", "an array": "[]", "two": "{}{}"} {
		if err := ask(200, nil, text); err == nil {
			t.Errorf("%s is taken for counters", name)
		}
	}
	status, header, body = 200, nil, `{"predictions":[]}`
	if _, err := c.PredictBatch(t.Context(), &api.BatchRequest{Data: []any{1}}); err == nil {
		t.Error("no prediction for one row")
	}
	body = `{"scores":[]}`
	if _, err := c.Replay(t.Context(), "m", &api.RowsRequest{Data: []any{1}}); err == nil {
		t.Error("no score for one row")
	}
	status, header, body = 503, http.Header{"Content-Type": {api.ProblemContentType}}, string(text)
	if _, err := c.Ready(t.Context()); !errors.As(err, &p) {
		t.Errorf("a problem is taken for what a host waits for: %v", err)
	}
}

// TestKeys checks that the key is sent as a bearer token only to the host, and is in
// no error.
func TestKeys(t *testing.T) {
	gate, made := testkit.Gate(t, "admin")
	_, c := serve(t, func(cfg *rest.Config) { cfg.Samples, cfg.Gate = 10, gate })
	if _, err := c.Samples(t.Context(), "m", client.SamplesQuery{}); err == nil {
		t.Error("samples without a key")
	}
	for key, want := range map[string]bool{made[0]: true, "wrong-key": false} {
		keyed, err := c.WithKey(key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = keyed.Samples(t.Context(), "m", client.SamplesQuery{})
		if (err == nil) != want || err != nil && strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
	var p *api.Problem
	if _, err := c.Samples(t.Context(), "m", client.SamplesQuery{}); !errors.As(err, &p) || p.ErrorType != api.Unauthorized {
		t.Errorf("the first client has the second's key: %v", err)
	}
}

// TestNew checks that New refuses a configuration that could not work or would
// reveal a key.
func TestNew(t *testing.T) {
	for _, cfg := range []client.Config{
		{}, {URL: "127.0.0.1:8080"}, {URL: "ftp://127.0.0.1"}, {URL: "http://"}, {URL: "http://user:s3cret@127.0.0.1"}, {URL: "http://user:s3cret@127.0.0.1:no"},
		{URL: "http://127.0.0.1?key=s3cret"}, {URL: "http://127.0.0.1#s3cret"}, {URL: "http://127.0.0.1", Key: "s3cret\r\nX: y"}, {URL: "http://127.0.0.1", Key: "s3cret\n"},
		{URL: "http://127.0.0.1", HTTP: http.DefaultClient, TLS: &tls.Config{}},
	} {
		if _, err := client.New(cfg); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// TestTLS checks that the configuration decides which host is trusted.
func TestTLS(t *testing.T) {
	other := httptest.NewUnstartedServer(nil)
	other.StartTLS()
	own := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: other.TLS.Certificates}
	trusted := x509.NewCertPool()
	trusted.AddCert(other.Certificate())
	other.Close()
	h := testkit.Serve(t, testkit.Options{Dir: t.TempDir(), TLS: own})
	if _, err := to(t, client.Config{URL: h.URL, TLS: &tls.Config{RootCAs: trusted}}).Health(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := to(t, client.Config{URL: h.URL}).Health(t.Context()); err == nil {
		t.Error("a host without a trusted certificate is asked")
	}
}

// TestBehindAPath checks a host behind a proxy that adds a path.
func TestBehindAPath(t *testing.T) {
	h, _ := serve(t, nil)
	proxy := httptest.NewServer(http.StripPrefix("/models", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := http.Get(h.URL + r.URL.Path)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write([]byte(`{"status":"healthy"}`))
	})))
	defer proxy.Close()
	for _, url := range []string{proxy.URL + "/models", proxy.URL + "/models/"} {
		if a, err := to(t, client.Config{URL: url}).Health(t.Context()); err != nil || a.Status != "healthy" {
			t.Errorf("%s: %+v, %v", url, a, err)
		}
	}
}
