package rest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

func dialSocket(t testing.TB, h *testkit.Host) *websocket.Conn {
	t.Helper()
	c, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(h.URL, "http")+"/api/v1/predict/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestSocketErrors checks that an error is a problem with the message's id, and that
// the connection continues.
func TestSocketErrors(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t)})
	c := dialSocket(t, h)
	for _, k := range []struct {
		kind    int
		message string
		want    api.ErrorType // empty: a prediction
		id      any
	}{
		{websocket.TextMessage, `{"id":7,"model_id":"pima","data":` + goodRow + `}`, "", 7.0},
		{websocket.TextMessage, `{"id":"a\"b","model_id":"none","data":` + goodRow + `}`, api.ModelNotFound, `a"b`},
		{websocket.TextMessage, `{"model_id":"pima","data":[1],"id":"late"}`, api.RowError, "late"},
		{websocket.TextMessage, `{"id":{},"model_id":"pima","data":[1]}`, api.ValidationError, nil},
		{websocket.TextMessage, `{"modelid":"a","data":[1],"id":"x3"}`, api.ValidationError, "x3"},
		{websocket.TextMessage, `{"model_id":"pima","return_confidence":1,"data":[{}],"id":8}`, api.ValidationError, 8.0},
		{websocket.TextMessage, `nonsense`, api.ValidationError, nil},
		{websocket.TextMessage, ``, api.ValidationError, nil},
		{websocket.BinaryMessage, `{}`, api.ValidationError, nil},
		{websocket.TextMessage, `{"model_id":"pima","data":` + goodRow + `,"return_explanation":true}`, "", nil},
	} {
		if err := c.WriteMessage(k.kind, []byte(k.message)); err != nil {
			t.Fatal(err)
		}
		_, text, err := c.ReadMessage()
		if err != nil {
			t.Fatalf("%s: %v", k.message, err)
		}
		var got struct {
			ErrorType api.ErrorType `json:"error_type"`
			ID        any           `json:"id"`
			RequestID string        `json:"request_id"`
			Score     *float64      `json:"score"`
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if got.ErrorType != k.want || got.ID != k.id || got.RequestID == "" || (k.want == "") != (got.Score != nil) {
			t.Errorf("%s answered %s", k.message, text)
		}
	}
}

// TestStoppedBeforeServing checks that a host that was stopped before it could serve
// closes its listener and ends.
func TestStoppedBeforeServing(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: t.TempDir()})
	if err := h.Server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Server.Serve(ln, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}

// TestStopping checks that a draining host says so and continues, and that a
// stopping host ends WebSockets with 1001 after their last answer, and idle
// connections at once.
func TestStopping(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t)})
	idle, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	socket := dialSocket(t, h)
	message := []byte(`{"id":1,"model_id":"pima","data":` + goodRow + `}`)
	if err := socket.WriteMessage(websocket.TextMessage, message); err != nil {
		t.Fatal(err)
	}
	if _, _, err := socket.ReadMessage(); err != nil {
		t.Fatal(err)
	}
	if resp, body := do(t, h, sent{method: "GET", path: "/ready"}); resp.StatusCode != http.StatusOK {
		t.Fatalf("not ready: %s", body)
	}
	h.Server.Drain()
	resp, body := do(t, h, sent{method: "GET", path: "/ready"})
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "shutting down") || resp.Header.Get("Retry-After") == "" {
		t.Errorf("draining, /ready answers %d: %s", resp.StatusCode, body)
	}
	resp, body = do(t, h, sent{path: "/api/v1/predict", body: `{"model_id":"pima","data":` + goodRow + `}`})
	if resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("draining, predict answers %d, closing %v: %s", resp.StatusCode, resp.Close, body)
	}
	if err := socket.WriteMessage(websocket.TextMessage, message); err != nil {
		t.Fatal(err)
	}
	if _, _, err := socket.ReadMessage(); err != nil {
		t.Errorf("draining, the WebSocket ends: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	if err := h.Server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if _, _, err := socket.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("the WebSocket ended with %v", err)
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://")); err == nil {
		t.Error("the port still answers")
	}
}

// samples reads /metrics into a map from "name{labels}" to value.
func samples(t testing.TB, h *testkit.Host) map[string]string {
	t.Helper()
	_, body := do(t, h, sent{method: "GET", path: "/metrics"})
	out := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(string(body))); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), "} "); ok {
			out[name+"}"] = value
		} else if name, value, ok := strings.Cut(lines.Text(), " "); ok {
			out[name] = value
		}
	}
	return out
}

// TestCounters checks that metrics and stats have the same, correct counts.
func TestCounters(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t)})
	good := `[8,155,62,26,495,34,0.543,46]`
	for range 3 {
		do(t, h, sent{path: "/api/v1/predict", body: `{"model_id":"pima","data":` + good + `}`})
	}
	do(t, h, sent{path: "/api/v1/predict/batch", body: `{"model_id":"pima","data":[` + good + `,` + good + `,[1]]}`})
	do(t, h, sent{path: "/api/v1/predict", body: `{"model_id":"pima","data":[1]}`})
	do(t, h, sent{path: "/api/v1/predict", body: `{"model_id":"pima","data":{"f0":1},"return_explanation":true}`})
	do(t, h, sent{path: "/api/v1/predict", body: `{"model_id":"made-up-` + strings.Repeat("x", 50) + `","data":[1]}`})
	do(t, h, sent{path: "/api/v1/predict", body: `{`})
	const v = `{model_id="pima",version="1.0.0"}`
	got := samples(t, h)
	for name, want := range map[string]string{
		"model_predictions_total" + v:                 "4",
		"model_rows_total" + v:                        "5",
		"model_anomalies_total" + v:                   "5",
		"model_nonfinite_total" + v:                   "0",
		"model_prediction_duration_seconds_count" + v: "4",
		`model_prediction_duration_seconds_bucket{model_id="pima",version="1.0.0",le="+Inf"}`: "4",
		"model_score_count" + v: "5",
		`model_errors_total{error_type="RowError",model_id="pima",version="1.0.0"}`: "2",
		`model_errors_total{error_type="ModelNotFound",model_id="",version=""}`:     "1",
		`model_errors_total{error_type="ValidationError",model_id="",version=""}`:   "1",
		"model_slots_stuck" + v:                           "0",
		"model_queue_rows" + v:                            "0",
		"model_websocket_connections":                     "0",
		"model_loaded" + v:                                "1",
		`model_loaded{model_id="broken",version="1.0.0"}`: "0",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %s", name, got[name], want)
		}
	}
	for name := range got {
		if strings.Contains(name, "made-up") {
			t.Errorf("%s has a label that a client made up", name)
		}
	}
	var st api.Stats
	_, body := do(t, h, sent{method: "GET", path: "/api/v1/models/pima/stats?version=1.0.0"})
	if err := json.Unmarshal(body, &st); err != nil {
		t.Fatal(err)
	}
	var inBins uint64
	for _, n := range st.Histogram.Counts {
		inBins += n
	}
	if st.Rows != 5 || st.Anomalies != 5 || st.Requests != 4 || inBins != 5 || st.Errors["RowError"] != 2 || len(st.Histogram.Counts) != len(st.Histogram.Edges)+1 || !slices.IsSorted(st.Histogram.Edges) || st.ProcessStartTime.IsZero() {
		t.Errorf("%s", body)
	}
	socket := dialSocket(t, h)
	testkit.Eventually(t, "the WebSocket is counted", func() bool { return samples(t, h)["model_websocket_connections"] == "1" })
	_ = socket.Close()
	testkit.Eventually(t, "it is not counted any more", func() bool { return samples(t, h)["model_websocket_connections"] == "0" })
}

// TestModelsAPI walks through listing, loading and unloading.
func TestModelsAPI(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t)})
	predict := sent{path: "/api/v1/predict", body: `{"model_id":"pima","data":` + goodRow + `}`}
	version := func() string {
		t.Helper()
		resp, body := do(t, h, predict)
		var p api.Prediction
		if err := json.Unmarshal(body, &p); err != nil || resp.StatusCode != http.StatusOK {
			return fmt.Sprint(resp.StatusCode)
		}
		return p.ModelVersion
	}
	status := func() string {
		t.Helper()
		_, body := do(t, h, sent{method: "GET", path: "/api/v1/models/pima"})
		var m api.Model
		if err := json.Unmarshal(body, &m); err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, v := range m.Versions {
			out = append(out, v.Version+"="+v.Status)
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	var list api.ModelList
	_, body := do(t, h, sent{method: "GET", path: "/api/v1/models"})
	if err := json.Unmarshal(body, &list); err != nil || list.Total != 4 {
		t.Fatalf("%v: %s", err, body)
	}
	engines := map[string]string{"pima": "neighbours", "mammo": "onnxruntime"}
	for _, m := range list.Models {
		if m.ModelID == "broken" && (m.Status != "failed" || !strings.Contains(m.Error, "digest")) {
			t.Errorf("%+v", m)
		}
		if (m.Status == "loaded") != (m.Engine != nil && m.Engine.Name == engines[m.ModelID] && m.Engine.Detail != "") {
			t.Errorf("%s is %s, engine %+v", m.ModelID, m.Status, m.Engine)
		}
	}
	steps := []struct {
		method, path  string
		version, want string // the version that answers then, and the statuses
	}{
		{"GET", "/health", "1.0.0", "1.0.0=loaded 1.1.0-rc.1=loaded"}, // a release before a pre-release
		{"DELETE", "/api/v1/models/pima/unload?version=1.0.0", "1.1.0-rc.1", "1.0.0=unloaded 1.1.0-rc.1=loaded"},
		{"DELETE", "/api/v1/models/pima/unload", "503", "1.0.0=unloaded 1.1.0-rc.1=unloaded"},
		{"POST", "/api/v1/models/pima/load", "1.0.0", "1.0.0=loaded 1.1.0-rc.1=unloaded"},
		{"POST", "/api/v1/models/pima/load?version=1.1.0-rc.1", "1.0.0", "1.0.0=loaded 1.1.0-rc.1=loaded"},
	}
	for _, s := range steps {
		if resp, body := do(t, h, sent{method: s.method, path: s.path}); resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", s.path, body)
		}
		if got := version(); got != s.version {
			t.Errorf("after %s %s answers, want %s", s.path, got, s.version)
		}
		if got := status(); got != s.want {
			t.Errorf("after %s: %s, want %s", s.path, got, s.want)
		}
	}
}

// TestKeepAlive sends many requests over one connection.
func TestKeepAlive(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t)})
	c, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body := `{"model_id":"pima","data":` + goodRow + `}`
	request := fmt.Sprintf("POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\nX-Request-ID: mine\r\n\r\n%s", len(body), body)
	if _, err := io.WriteString(c, strings.Repeat(request, 5)); err != nil { // pipelined
		t.Fatal(err)
	}
	reader := bufio.NewReader(c)
	for range 5 {
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		var p api.Prediction
		if err := json.Unmarshal(text, &p); err != nil || resp.StatusCode != http.StatusOK || p.RequestID != "mine" {
			t.Errorf("%d: %s", resp.StatusCode, text)
		}
	}
}
