package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// full is a backend whose disk is full while it says so.
type full struct {
	backends.Backend
	is atomic.Bool
}

func (f *full) Open(ctx context.Context, a backends.Artifact) (sdk.Scorer, error) {
	if f.is.Load() {
		return nil, fmt.Errorf("writing to the cache: %w", syscall.ENOSPC)
	}
	return f.Backend.Open(ctx, a)
}

// TestFailedLoads checks that the models API, the metrics and /ready say whether the
// file or the surroundings made a load fail, and when it is tried again, and that a
// load request tries at once.
func TestFailedLoads(t *testing.T) {
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "mammography-gmm", "good", "1.0.0", nil)
	testkit.CopyModel(t, dir, "mammography-gmm", "bad", "1.0.0", func(m string) string { return m + "unknown: 1\n" })
	f := &full{Backend: testkit.ONNX(t, t.TempDir())}
	f.is.Store(true)
	h := testkit.Serve(t, testkit.Options{Dir: dir, Backends: model.Backends{manifest.BackendONNX: f}})
	resp, body := do(t, h, sent{method: "GET", path: "/ready"})
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "none of the 2 versions found could be loaded") {
		t.Errorf("/ready answers %d: %s", resp.StatusCode, body)
	}
	version := func(id string) api.ModelVersion {
		t.Helper()
		var m api.Model
		if _, body := do(t, h, sent{method: "GET", path: "/api/v1/models/" + id}); json.Unmarshal(body, &m) != nil || len(m.Versions) != 1 {
			t.Fatalf("%s", body)
		}
		return m.Versions[0]
	}
	if v := version("bad"); v.Status != "failed" || v.Failure != "file" || v.RetryAt != nil {
		t.Errorf("%+v", v)
	}
	if v := version("good"); v.Status != "failed" || v.Failure != "surroundings" || v.RetryAt == nil || time.Until(*v.RetryAt) > time.Minute {
		t.Errorf("%+v", v)
	}
	_, metrics := do(t, h, sent{method: "GET", path: "/metrics"})
	for _, line := range []string{`model_load_failed{failure="file",model_id="bad",version="1.0.0"} 1`, `model_load_failed{failure="surroundings",model_id="good",version="1.0.0"} 1`} {
		if !strings.Contains(string(metrics), line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	f.is.Store(false)
	if resp, body := do(t, h, sent{path: "/api/v1/models/good/load"}); resp.StatusCode != http.StatusOK {
		t.Errorf("load answers %d: %s", resp.StatusCode, body)
	}
	if v := version("good"); v.Status != "loaded" || v.Failure != "" || v.Error != "" || v.RetryAt != nil {
		t.Errorf("%+v", v)
	}
	if resp, body := do(t, h, sent{method: "GET", path: "/ready"}); resp.StatusCode != http.StatusOK {
		t.Errorf("/ready answers %d: %s", resp.StatusCode, body)
	}
	if _, metrics = do(t, h, sent{method: "GET", path: "/metrics"}); strings.Contains(string(metrics), `failure="surroundings"`) {
		t.Error("the failure is still exported")
	}
}

// TestStrays checks that the models API and the metrics show files that are not served
// because of their names.
func TestStrays(t *testing.T) {
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "mammography-gmm", "good", "1.0.0", nil)
	for _, name := range []string{"fraud.v2.onnx", "good.pkl"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := testkit.Serve(t, testkit.Options{Dir: dir})
	var list api.ModelList
	if _, body := do(t, h, sent{method: "GET", path: "/api/v1/models"}); json.Unmarshal(body, &list) != nil || len(list.Models) != 3 {
		t.Fatalf("%s", body)
	}
	if v := list.Models[1]; v.ModelID != "fraud.v2.onnx" || v.Status != "failed" || v.Failure != "file" || !strings.Contains(v.Error, "fraud@2.0.0.onnx") {
		t.Errorf("%+v", v)
	}
	_, metrics := do(t, h, sent{method: "GET", path: "/metrics"})
	for _, name := range []string{"fraud.v2.onnx", "good.pkl"} {
		if line := fmt.Sprintf(`model_load_failed{failure="file",model_id="%s",version="0.0.0"} 1`, name); !strings.Contains(string(metrics), line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	if resp, body := do(t, h, sent{method: "GET", path: "/ready"}); resp.StatusCode != http.StatusOK {
		t.Errorf("/ready answers %d: %s", resp.StatusCode, body)
	}
}
