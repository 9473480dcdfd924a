package rest_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

func get(t testing.TB, url string, to any) int {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if to != nil {
		decode(t, resp, to)
	}
	return resp.StatusCode
}

// load sends good requests until it is stopped, and counts failures.
type load struct {
	stop           chan struct{}
	wg             sync.WaitGroup
	sent, failures atomic.Int64
	first          atomic.Value
}

func startLoad(t *testing.T, url string, c *testkit.Case, id string) *load {
	l := &load{stop: make(chan struct{})}
	for worker := range 2 {
		l.wg.Go(func() {
			for i := worker; ; i++ {
				select {
				case <-l.stop:
					return
				default:
				}
				row := i % len(c.Rows)
				var p api.Prediction
				l.sent.Add(1)
				if err := tryPost(url+"/api/v1/predict", map[string]any{"data": c.Rows[row], "model_id": id}, &p); err != nil {
					l.failures.Add(1)
					l.first.CompareAndSwap(nil, err.Error())
				} else if err := c.Check(row, "ecdf", answer(t, p)); err != nil {
					l.failures.Add(1)
					l.first.CompareAndSwap(nil, err.Error())
				}
			}
		})
	}
	return l
}

func (l *load) end(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.wg.Wait()
	if l.failures.Load() > 0 || l.sent.Load() == 0 {
		t.Errorf("%d of %d requests to the good model failed, the first: %v", l.failures.Load(), l.sent.Load(), l.first.Load())
	}
	t.Logf("%d requests to the good model, none failed", l.sent.Load())
}

// TestBrokenModels puts every broken file beside a good model under load. Each is
// refused with its cause, or fails row by row, and no good request fails.
func TestBrokenModels(t *testing.T) {
	dir := t.TempDir()
	c := testkit.Cases(t)[len(testkit.Cases(t))-1]
	testkit.CopyModel(t, dir, c.Name, "good", "1.0.0", nil)
	h := testkit.Serve(t, testkit.Options{Dir: dir})
	l := startLoad(t, h.URL, c, "good")
	files, err := filepath.Glob(testkit.Testdata("bad", "*.onnx"))
	if err != nil || len(files) < 11 {
		t.Fatal(len(files), err)
	}
	causes := map[string]string{
		"truncated": "cut short", "not-onnx": "ONNX does not define", "empty": "empty", "external-data": "another file",
		"wrong-domain": "com.example.private", "huge-dim": "102 GB", "huge-alloc": "160000 x 160000", "zipmap": "zipmap=False",
		"infinite-loop": "iterations", "two-outputs-no-hint": "output.name", "nan-output": "",
	}
	for _, f := range files {
		testkit.CopyFile(t, f, filepath.Join(dir, filepath.Base(f)))
	}
	for name, cause := range causes {
		testkit.Eventually(t, name+" is settled", func() bool {
			var m api.Model
			status := get(t, h.URL+"/api/v1/models/"+name, &m)
			return status == http.StatusOK && (m.Versions[0].Status == "loaded" || (m.Versions[0].Status == "failed" && !strings.Contains(m.Versions[0].Error, "being written")))
		})
		var m api.Model
		get(t, h.URL+"/api/v1/models/"+name, &m)
		v := m.Versions[0]
		if cause == "" {
			if v.Status != "loaded" {
				t.Errorf("%s: %s: %s", name, v.Status, v.Error)
			}
			continue
		}
		if v.Status != "failed" || !strings.Contains(v.Error, cause) {
			t.Errorf("%s is %s (%q), want failed with %q", name, v.Status, v.Error, cause)
		}
		var p api.Problem
		post(t, h.URL+"/api/v1/predict", map[string]any{"data": []float64{1, 2, 3, 4}, "model_id": name}, http.StatusServiceUnavailable, &p)
		if p.ErrorType != api.ModelUnavailable || !strings.Contains(p.Detail, cause) {
			t.Errorf("%s answers %+v", name, p)
		}
	}
	// Rows whose score is not finite fail alone.
	var b api.BatchResponse
	post(t, h.URL+"/api/v1/predict/batch", map[string]any{"model_id": "nan-output", "data": [][]float64{{1, 1, 1, 1}, {-1, -1, -1, -1}, {0, 0, 0, 0}, {2, 2, 2, 2}}}, http.StatusOK, &b)
	if b.TotalFailed != 2 || b.Predictions[0].Error != nil || b.Predictions[1].Error == nil || b.Predictions[2].Error == nil || b.Predictions[3].Error != nil {
		t.Errorf("%+v", b)
	}
	var p api.Problem
	post(t, h.URL+"/api/v1/predict", map[string]any{"model_id": "nan-output", "data": []float64{0, 0, 0, 0}}, http.StatusUnprocessableEntity, &p)
	if p.ErrorType != api.RowError || !strings.Contains(p.Detail, "not finite") {
		t.Errorf("%+v", p)
	}
	l.end(t)
}

// TestEndlessRun checks that a trusted graph whose number of iterations depends on
// the data is stopped at its deadline, and that a good model beside it loses no
// request.
func TestEndlessRun(t *testing.T) {
	dir := t.TempDir()
	c := testkit.Cases(t)[len(testkit.Cases(t))-1]
	testkit.CopyModel(t, dir, c.Name, "good", "1.0.0", nil)
	loop := filepath.Join(dir, "loop", "1.0.0")
	if err := os.MkdirAll(loop, 0o755); err != nil {
		t.Fatal(err)
	}
	testkit.CopyFile(t, testkit.Testdata("variants", "data-loop.onnx"), filepath.Join(loop, "m.onnx"))
	text := "apiVersion: pynomaly.io/v1\nkind: Model\nid: loop\nversion: 1.0.0\nartifact: m.onnx\nthreshold: 3\ntrusted: true\nlimits: {timeout: 1s, load_timeout: 10m}\n"
	if err := os.WriteFile(filepath.Join(loop, "model.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	h := testkit.Serve(t, testkit.Options{Dir: dir, Models: func(c *registry.Config) { c.Policy.Trusted = []string{loop} }})
	l := startLoad(t, h.URL, c, "good")
	for range 3 {
		var p api.Problem
		post(t, h.URL+"/api/v1/predict", map[string]any{"model_id": "loop", "data": []float64{1e18, 0, 0, 0}}, http.StatusGatewayTimeout, &p)
		if p.ErrorType != api.DeadlineExceeded {
			t.Errorf("%+v", p)
		}
		var good api.Prediction
		testkit.Eventually(t, "the next row is scored", func() bool { // on a busy machine it may be late, too
			return tryPost(h.URL+"/api/v1/predict", map[string]any{"model_id": "loop", "data": []float64{3, 1, 0, 0}}, &good) == nil
		})
		if good.Score != 4 || !*good.IsAnomaly {
			t.Errorf("%+v", good)
		}
	}
	l.end(t)
}

// TestChangesUnderLoad adds, replaces, breaks and removes a model while another one
// is under load.
func TestChangesUnderLoad(t *testing.T) {
	dir := t.TempDir()
	c := testkit.Cases(t)[len(testkit.Cases(t))-1]
	testkit.CopyModel(t, dir, c.Name, "good", "1.0.0", nil)
	h := testkit.Serve(t, testkit.Options{Dir: dir})
	l := startLoad(t, h.URL, c, "good")
	body := map[string]any{"model_id": "other", "data": c.Rows[0]}
	threshold := func(want float64) func() bool {
		return func() bool {
			var p api.Prediction
			return tryPost(h.URL+"/api/v1/predict", body, &p) == nil && *p.Threshold == want
		}
	}
	set := func(value string) func(string) string {
		return func(text string) string { return thresholdLine.ReplaceAllString(text, "threshold: "+value) }
	}
	for range 3 {
		testkit.CopyModel(t, dir, c.Name, "other", "1.0.0", set("1.5"))
		testkit.Eventually(t, "the dropped model answers", threshold(1.5))
		testkit.CopyModel(t, dir, c.Name, "other", "1.0.0", set("2.5"))
		testkit.Eventually(t, "the replaced model answers", threshold(2.5))
		if err := os.WriteFile(filepath.Join(dir, "other", "1.0.0", "model.onnx"), []byte("broken"), 0o644); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the broken change is reported", func() bool {
			var m api.Model
			return get(t, h.URL+"/api/v1/models/other", &m) == http.StatusOK && strings.Contains(m.Versions[0].Error, "digest")
		})
		if !threshold(2.5)() {
			t.Error("the running version stopped answering")
		}
		if err := os.RemoveAll(filepath.Join(dir, "other")); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the removed model is gone", func() bool {
			return get(t, h.URL+"/api/v1/models/other", nil) == http.StatusNotFound
		})
	}
	l.end(t)
}
