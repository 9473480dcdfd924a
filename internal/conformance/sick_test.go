package conformance_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// TestSickServed checks that clients of a sick plugin get a scoring error, and that
// it counts as such, not as an error of the row.
func TestSickServed(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "m", "1.0.0")
	if err := os.MkdirAll(at, 0o750); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"plugin":     testkit.Program(t, "./internal/testkit/faulty"),
		"model.yaml": []byte("apiVersion: pynomaly.io/v1\nkind: Model\nid: m\nversion: 1.0.0\nbackend: process\nartifact: plugin\nfeatures: [{name: x, dtype: float64}, {name: y, dtype: float64}]\n"),
	} {
		if err := os.WriteFile(filepath.Join(at, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := testkit.Serve(t, testkit.Options{Dir: dir, Backends: model.Backends{manifest.BackendProcess: testkit.Processes(t, dir, nil)}})
	ask := func(path, body string) (int, string) {
		t.Helper()
		resp, err := http.Post(h.URL+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	const one, many = "/api/v1/predict", "/api/v1/predict/batch"
	for _, c := range []struct {
		path, body string
		status     int
		want       string
	}{
		{one, `{"data":[1,2]}`, 200, `"score":3`},
		{one, `{"data":[-1006,0]}`, 500, `"error_type":"ScoringError"`},
		{many, `{"data":[[1,2],[-1006,0],[3,4]]}`, 200, `"total_failed":1`},
		{many, `{"data":[[-1006,0],[-1006,0]]}`, 500, `"error_type":"ScoringError"`},
		{one, `{"data":[-1009,0]}`, 200, `"score":`},
		{one, `{"data":[1,2]}`, 500, "the detector panicked: it is sick"},
	} {
		if status, text := ask(c.path, c.body); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s, want %d with %s", c.body, status, text, c.status, c.want)
		}
	}
	testkit.Eventually(t, "it serves again", func() bool { status, _ := ask(one, `{"data":[1,2]}`); return status == 200 })
	if _, text := ask(one, `{"data":[1]}`); !strings.Contains(text, `"error_type":"RowError"`) {
		t.Errorf("a row that is at fault: %s", text)
	}
	resp, err := http.Get(h.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(metrics), `model_errors_total{error_type="ScoringError",model_id="m",version="1.0.0"}`) {
		t.Errorf("%s, %v", metrics, err)
	}
}
