package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

const pluginManifest = `apiVersion: pynomaly.io/v1
kind: Model
id: %s
version: 1.0.0
backend: wasm
artifact: detector.wasm
config: {centre: [3, 4]}
features: [{name: x, dtype: float64}, {name: "y", dtype: float64}]
threshold: 4.5
calibration: {method: linear, min: 0, max: 10}
explanation: {method: native}
golden: {rows: golden.ndjson}
limits: {timeout: %s, load_timeout: 10m}
`

// TestPluginServed checks that a plugin is served beside ONNX models and explains
// its scores, and that its faults disturb no other model.
func TestPluginServed(t *testing.T) {
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "pima-lof", "pima", "1.0.0", nil)
	module := testkit.Guest(t, "distance")
	files := map[string]string{"bare.wasm": string(module)} // needs a config, so it fails
	for id, timeout := range map[string]string{"ring": "5m", "hasty": "3s"} {
		folder := id + "/1.0.0/"
		files[folder+"model.yaml"], files[folder+"detector.wasm"] = fmt.Sprintf(pluginManifest, id, timeout), string(module)
		files[folder+"golden.ndjson"] = `{"data": {"x": 0, "y": 0}, "score": 5}` + "\n" + `{"data": {"x": 3, "y": 5}, "score": 1}` + "\n"
	}
	for name, data := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := testkit.Serve(t, testkit.Options{Dir: dir})
	var p api.Prediction
	post(t, h.URL+"/api/v1/predict", []byte(`{"model_id":"ring","data":{"y":0,"x":0},"return_explanation":true}`), 200, &p)
	if p.Score != 5 || p.Prediction != 0.5 || p.IsAnomaly == nil || !*p.IsAnomaly || p.Explanation == nil || p.Explanation.Method != "native" || p.Explanation.Contributions[1].Contribution != 4 {
		t.Errorf("%+v %+v", p, p.Explanation)
	}
	var b api.BatchResponse
	post(t, h.URL+"/api/v1/predict/batch", []byte(`{"model_id":"ring","data":[[3,4],[-1000,0],[3,5],[-2000,0],[0,0]]}`), 200, &b)
	if b.TotalFailed != 2 || b.Predictions[0].Score != 0 || b.Predictions[2].Score != 1 || b.Predictions[4].Score != 5 ||
		!strings.Contains(b.Predictions[1].Error.Detail, "far too far left") {
		t.Errorf("%+v", b)
	}
	resp, body := do(t, h, sent{path: "/api/v1/predict", body: `{"model_id":"hasty","data":[-3000,0]}`})
	var problem api.Problem
	if err := json.Unmarshal(body, &problem); err != nil || resp.StatusCode != http.StatusGatewayTimeout || problem.ErrorType != api.DeadlineExceeded {
		t.Errorf("an endless row: %d %s", resp.StatusCode, body)
	}
	testkit.Eventually(t, "the detector that was ended serves again", func() bool {
		resp, _ := do(t, h, sent{path: "/api/v1/predict", body: `{"model_id":"hasty","data":[3,5]}`})
		return resp.StatusCode == http.StatusOK
	})
	post(t, h.URL+"/api/v1/predict", []byte(`{"model_id":"pima","data":`+goodRow+`}`), 200, &p)
	resp, body = do(t, h, sent{method: "GET", path: "/api/v1/models/bare"})
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "the centre has 0 values for 2 features") {
		t.Errorf("the bare module: %s", body)
	}
}
