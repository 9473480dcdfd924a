package rest_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/fasthttp/websocket"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// seerHeader is the header with the key of a caller who sees some models.
const seerHeader = "X-Api-Key"

var requestIDs = regexp.MustCompile(`"request_id":"[^"]*"`)

// requestTo makes a request about a model to a route.
func requestTo(t *testing.T, h *testkit.Host, r rest.Route, model string) *http.Request {
	t.Helper()
	body := `{"data":[8,155,62,26,495,34,0.543,46],"model_id":"` + model + `"}`
	switch {
	case r.Body == rest.NoBody:
		body = ""
	case r.Model == rest.ModelInPath:
		body = `{"data":[[8,155,62,26,495,34,0.543,46]]}`
	case strings.HasSuffix(r.Path, "batch"):
		body = `{"data":[[8,155,62,26,495,34,0.543,46]],"model_id":"` + model + `"}`
	}
	req, err := http.NewRequest(r.Method, h.URL+strings.ReplaceAll(r.Path, "{model_id}", model), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return req
}

// answerTo sends a request about a model to a route, for a caller who sees some
// models.
func answerTo(t *testing.T, h *testkit.Host, r rest.Route, model, sees string) (int, string) {
	t.Helper()
	req := requestTo(t, h, r, model)
	req.Header.Set(seerHeader, "admin:"+sees)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, requestIDs.ReplaceAllString(string(text), "")
}

// TestHiddenModels checks on every route that names a model that a hidden model gets
// the same answer as a missing one, and that it is not loaded.
func TestHiddenModels(t *testing.T) {
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "pima-lof", "own", "1.0.0", nil)
	testkit.CopyModel(t, dir, "pima-lof", "secret", "1.0.0", nil)
	h := testkit.Serve(t, testkit.Options{
		Dir:    dir,
		Models: func(c *registry.Config) { c.Default, c.Lazy = "secret", true },
		REST: func(c *rest.Config) {
			c.Gate, c.Samples, c.DefaultModel = gateOf(t, access.Configured, nil), 10, "secret"
		},
	})
	asked := 0
	for _, r := range h.Server.Routes() {
		if r.Model == rest.NoModel {
			continue
		}
		asked++
		status, hidden := answerTo(t, h, r, "secret", "own")
		other, absent := answerTo(t, h, r, "secreT", "own")
		if status != http.StatusNotFound || other != status || strings.ReplaceAll(hidden, "secret", "secreT") != absent {
			t.Errorf("%s %s: hidden: %d %s\nabsent: %d %s", r.Method, r.Path, status, hidden, other, absent)
		}
	}
	if asked < 8 {
		t.Errorf("%d routes name a model", asked)
	}
	all, err := h.Registry.List("secret")
	if err != nil || all[0].State != registry.StateAvailable {
		t.Errorf("the hidden model is %+v, %v", all, err)
	}
	for _, r := range h.Server.Routes() {
		if r.Action != rest.ActionRead || r.Model != rest.NoModel {
			continue
		}
		if _, text := answerTo(t, h, r, "", "own"); strings.Contains(text, "secret") {
			t.Errorf("%s %s: %s", r.Method, r.Path, text)
		}
	}
	predict := rest.Route{Method: http.MethodPost, Path: "/api/v1/predict", Model: rest.ModelInBody, Body: rest.JSONBody}
	if status, text := answerTo(t, h, predict, "own", "own"); status != http.StatusOK {
		t.Errorf("the model that is seen: %d %s", status, text)
	}
	if status, text := answerTo(t, h, predict, "own", "/"); status != http.StatusUnauthorized {
		t.Errorf("who cannot be identified: %d %s", status, text)
	}
}

// TestHiddenModelsOverWebSocket checks that the principal of the upgrade is that of
// every message.
func TestHiddenModelsOverWebSocket(t *testing.T) {
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "pima-lof", "own", "1.0.0", nil)
	testkit.CopyModel(t, dir, "pima-lof", "secret", "1.0.0", nil)
	h := testkit.Serve(t, testkit.Options{Dir: dir, REST: func(c *rest.Config) { c.Gate = gateOf(t, access.Configured, nil) }})
	c, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(h.URL, "http")+"/api/v1/predict/stream", http.Header{seerHeader: {"viewer:own"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	defer c.Close()
	ask := func(message string) string {
		if err := c.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
			t.Fatal(err)
		}
		_, text, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		return requestIDs.ReplaceAllString(string(text), "")
	}
	const row = `"data":[8,155,62,26,495,34,0.543,46]`
	hidden, absent := ask(`{"model_id":"secret",`+row+`}`), ask(`{"model_id":"secreT",`+row+`}`)
	if strings.ReplaceAll(hidden, "secret", "secreT") != absent || !strings.Contains(hidden, "ModelNotFound") {
		t.Errorf("hidden: %s\nabsent: %s", hidden, absent)
	}
	for _, message := range []string{`{"model_id":"own",` + row + `}`, `{` + row + `}`} {
		if text := ask(message); !strings.Contains(text, `"model_id":"own"`) {
			t.Errorf("%s: %s", message, text)
		}
	}
	if _, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(h.URL, "http")+"/api/v1/predict/stream", http.Header{seerHeader: {"nobody:own"}}); err == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("who cannot be identified is upgraded: %v, %v", resp, err)
	}
}
