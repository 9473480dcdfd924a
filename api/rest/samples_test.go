package rest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/access"
	gates "github.com/pynomaly/pynomaly-runtime/api/access/gate"
	"github.com/pynomaly/pynomaly-runtime/api/rest"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// clock is a clock that the test advances.
type clock struct{ atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(0, c.Load()) }

// asked sends a request with a token, and checks the status.
func asked(t *testing.T, method, url, token string, body any, want int, into any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(method, url, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		t.Fatalf("%s %s: status %d, want %d", method, url, resp.StatusCode, want)
	}
	if into != nil {
		decode(t, resp, into)
	}
}

// gateForSamples lets everybody do what a viewer may, and accepts keys as bearers.
func gateForSamples(t *testing.T) *gates.Gate {
	return gateOf(t, access.Configured, func(c *access.Config) {
		c.Anonymous = person(t, "viewer", access.AllModels())
		c.Tokens = tokensOf{spelledOut{t, new(atomic.Bool)}}
	})
}

// TestSamples checks that the newest scored rows are kept with their scores, and
// that replaying them gives the same scores and counts nowhere.
func TestSamples(t *testing.T) {
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "pima-lof", "pima", "1.0.0", nil)
	var now clock
	now.Store(time.Now().UnixNano())
	h := testkit.Serve(t, testkit.Options{Dir: dir, REST: func(c *rest.Config) { c.Gate, c.Samples, c.Now = gateForSamples(t), 4, now.now }})
	samples, predict := h.URL+"/api/v1/models/pima/samples", h.URL+"/api/v1/predict"
	asked(t, http.MethodGet, samples, "", nil, 403, nil)
	asked(t, http.MethodGet, samples, "another", nil, 401, nil)
	asked(t, http.MethodGet, samples, "viewer:*", nil, 403, nil)
	asked(t, http.MethodPost, samples, "", map[string]any{"data": []any{}}, 403, nil)
	var got api.Samples
	asked(t, http.MethodGet, samples, "admin:*", nil, 200, &got)
	if got.Total != 0 || len(got.Rows) != 0 {
		t.Errorf("%+v", got)
	}
	scores := map[string]float64{}
	for i := range 6 {
		row := fmt.Sprintf("[%d,155,62,26,495,34,0.543,46]", i)
		var p api.Prediction
		now.Add(int64(20 * time.Millisecond))
		post(t, predict, []byte(`{"model_id":"pima","data":`+row+`}`), 200, &p)
		scores[row] = p.Score
		post(t, predict, []byte(`{"model_id":"pima","data":[9,155,62,26,495,34,0.543,46]}`), 200, nil) // too soon to be kept
	}
	now.Add(int64(20 * time.Millisecond))
	var b api.BatchResponse
	post(t, predict+"/batch", []byte(`{"model_id":"pima","data":[ [1,1,1,1,1,1,1,1] , [2,2,2,2,2,2,2,2]]}`), 200, &b)
	scores["[1,1,1,1,1,1,1,1]"], scores["[2,2,2,2,2,2,2,2]"] = b.Predictions[0].Score, b.Predictions[1].Score
	asked(t, http.MethodGet, samples+"?version=1.0.0", "admin:*", nil, 200, &got)
	if got.Total != 7 || len(got.Rows) != 4 || got.Version != "1.0.0" || got.Threshold == nil {
		t.Fatalf("%+v", got)
	}
	var page api.Samples
	asked(t, http.MethodGet, samples+"?after=4&limit=2", "admin:*", nil, 200, &page)
	if len(page.Rows) != 2 || page.Next != 6 || string(page.Rows[0].Data) != string(got.Rows[1].Data) || got.Next != 7 {
		t.Errorf("after the fourth: %+v", page)
	}
	asked(t, http.MethodGet, samples+"?after=7", "admin:*", nil, 200, &page)
	if len(page.Rows) != 0 || page.Next != 7 {
		t.Errorf("after the last: %+v", page)
	}
	asked(t, http.MethodGet, samples+"?after=-1", "admin:*", nil, 400, nil)
	var rows []json.RawMessage
	for i, r := range got.Rows {
		if s, ok := scores[string(r.Data)]; !ok || s != r.Score {
			t.Errorf("row %s has score %v, want %v", r.Data, r.Score, s)
		}
		if want := fmt.Sprintf("[%d,155,62,26,495,34,0.543,46]", i+3); i < 3 && string(r.Data) != want {
			t.Errorf("row %d is %s, want %s", i, r.Data, want)
		}
		rows = append(rows, r.Data)
	}
	var before, after api.Stats
	asked(t, http.MethodGet, h.URL+"/api/v1/models/pima/stats", "", nil, 200, &before)
	rows = append(rows, json.RawMessage(`["x"]`))
	var replayed api.Replayed
	asked(t, http.MethodPost, samples, "admin:*", map[string]any{"version": "1.0.0", "data": rows}, 200, &replayed)
	if len(replayed.Scores) != 5 || replayed.Scores[4] != nil {
		t.Fatalf("%+v", replayed)
	}
	for i, r := range got.Rows {
		if s := replayed.Scores[i]; s == nil || *s != r.Score {
			t.Errorf("row %s is replayed as %v, was %v", r.Data, s, r.Score)
		}
	}
	asked(t, http.MethodGet, h.URL+"/api/v1/models/pima/stats", "", nil, 200, &after)
	if before.Rows != after.Rows || before.Requests != after.Requests {
		t.Errorf("a replay was counted: %+v, before %+v", after, before)
	}
}

func TestNoSamples(t *testing.T) {
	dir := t.TempDir()
	testkit.CopyModel(t, dir, "pima-lof", "pima", "1.0.0", nil)
	h := testkit.Serve(t, testkit.Options{Dir: dir})
	asked(t, http.MethodGet, h.URL+"/api/v1/models/pima/samples", "", nil, 404, nil)
	asked(t, http.MethodPost, h.URL+"/api/v1/models/pima/samples", "", map[string]any{"data": []any{}}, 404, nil)
}

// TestSamplesHoldFeatures checks that ignored features are not kept, and no rows of
// a model that the configuration does not name.
func TestSamplesHoldFeatures(t *testing.T) {
	dir := t.TempDir()
	ignoring := func(text string) string { return text + "unknown_features: ignore\n" }
	testkit.CopyModel(t, dir, "pima-lof", "pima", "1.0.0", ignoring)
	testkit.CopyModel(t, dir, "pima-lof", "other", "1.0.0", nil)
	var now clock
	now.Store(time.Now().UnixNano())
	h := testkit.Serve(t, testkit.Options{Dir: dir, REST: func(c *rest.Config) { c.Samples, c.SampleModels, c.Now = 4, []string{"pima"}, now.now }})
	var m api.Model
	asked(t, http.MethodGet, h.URL+"/api/v1/models/pima", "", nil, 200, &m)
	features := map[string]any{}
	for i, f := range m.Versions[0].Features {
		features[f.Name] = float64(i)
	}
	row := maps.Clone(features)
	row["name"], row["card"], row["more"] = "Ada", 4111, []any{map[string]any{"x": "}"}}
	ask := func(id, path string, data any) {
		now.Add(int64(20 * time.Millisecond))
		post(t, h.URL+"/api/v1/predict"+path, map[string]any{"model_id": id, "data": data}, 200, nil)
	}
	ask("pima", "", row)
	ask("pima", "/batch", []any{row})
	ask("other", "", features)
	var got api.Samples
	asked(t, http.MethodGet, h.URL+"/api/v1/models/pima/samples", "", nil, 200, &got)
	if len(got.Rows) != 2 {
		t.Fatalf("%+v", got)
	}
	for _, r := range got.Rows {
		var kept map[string]any
		if err := json.Unmarshal(r.Data, &kept); err != nil || !maps.Equal(kept, features) {
			t.Errorf("%s: %v", r.Data, err)
		}
	}
	asked(t, http.MethodGet, h.URL+"/api/v1/models/other/samples", "", nil, 200, &got)
	if got.Total != 0 || got.NotKept != "server.samples.models does not name it" {
		t.Errorf("%+v", got)
	}
}
