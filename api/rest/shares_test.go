package rest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// TestSharesAreDrawnOnce: a request without a version draws one, whatever door it comes
// through and wherever its model is named, and is answered by that one or by none.
func TestSharesAreDrawnOnce(t *testing.T) {
	dir := t.TempDir()
	modeltest.WriteModel(t, dir, "m", "1.0.0", "id: m")
	modeltest.WriteModel(t, dir, "m", "2.0.0", modeltest.Simple("m", "2.0.0"))
	modeltest.WriteModel(t, dir, "other", "1.0.0", modeltest.Simple("other", "1.0.0"))
	var draws atomic.Int64
	log := &modeltest.Logged{}
	h := testkit.Serve(t, testkit.Options{Dir: dir, Log: log, Backends: model.Backends{manifest.BackendONNX: modeltest.NewFake()}, Models: func(c *registry.Config) {
		c.Aliases = map[string]registry.Aliases{"m": {Names: map[string]string{"canary": "2.0.0", "stable": "1.0.0"}, Default: map[string]int{"canary": 50, "stable": 50}}}
		c.Random = func() float64 { return []float64{0.9, 0.1}[draws.Add(1)%2] } // stable and canary in turn
	}})
	draws.Store(0)
	for path, bodies := range map[string][]string{
		"/api/v1/predict": {
			`{"model_id":"m","data":{"x":1}}`, `{"data":{"x":1},"model_id":"m"}`, `{"data":{"x":1},"model_id":"m","return_confidence":true}`,
			`{"data":{"x":1},"return_confidence":true,"model_id":"m"` + strings.Repeat(" ", 1000) + `}`,
		},
		"/api/v1/predict/batch": {`{"model_id":"m","data":[{"x":1},{"x":2}]}`, `{"data":[{"x":1}],"model_id":"m"}`},
	} {
		for _, body := range bodies {
			for _, want := range []int{http.StatusOK, http.StatusServiceUnavailable} { // the first draws canary
				before := draws.Load()
				resp, text := do(t, h, sent{path: path, body: body})
				if n := draws.Load() - before; resp.StatusCode != want || n != 1 {
					t.Errorf("%s %.80s: %d after %d draws, want %d after one: %s", path, body, resp.StatusCode, n, want, text)
				}
			}
		}
	}
	var ready api.Ready
	resp, text := do(t, h, sent{method: http.MethodGet, path: "/ready"})
	if err := json.Unmarshal(text, &ready); err != nil || resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(ready.Reason, "m@1.0.0 was not loaded") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	var list api.ModelList
	_, text = do(t, h, sent{method: http.MethodGet, path: "/api/v1/models"})
	if err := json.Unmarshal(text, &list); err != nil || len(list.Problems) != 1 || list.Problems[0] != ready.Reason {
		t.Errorf("%s", text)
	}
	if log.Count("the configuration asks for what cannot be had") != 1 {
		t.Error("the log does not say why the host is not ready")
	}
	for range 3 { // requests that name a version draw none
		before := draws.Load()
		if resp, text := do(t, h, sent{path: "/api/v1/predict", body: `{"model_id":"m","version":"latest","data":{"x":1}}`}); resp.StatusCode != http.StatusOK || draws.Load() != before {
			t.Errorf("%d %s", resp.StatusCode, text)
		}
		if resp, text := do(t, h, sent{method: http.MethodGet, path: "/api/v1/models/m/stats"}); resp.StatusCode != http.StatusOK || draws.Load() != before {
			t.Errorf("%d %s", resp.StatusCode, text)
		}
	}
}
