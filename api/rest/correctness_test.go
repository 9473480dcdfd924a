package rest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/fasthttp/websocket"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var methods = map[string]string{"1.0.0": "linear", "2.0.0": "unify", "3.0.0": "ecdf"}

// post sends a JSON body, checks the status and decodes the answer.
func post(t testing.TB, url string, body any, want int, to any) {
	t.Helper()
	data, ok := body.([]byte)
	if !ok {
		var err error
		if data, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := client(t).Post(url, "application/json", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != want {
		t.Fatalf("%s: status %d, want %d: %.500s", url, resp.StatusCode, want, text)
	}
	if to != nil {
		if err := json.Unmarshal(text, to); err != nil {
			t.Fatalf("%v in %.500s", err, text)
		}
	}
}

func answer(t testing.TB, p api.Prediction) testkit.Answer {
	t.Helper()
	if p.Error != nil || p.IsAnomaly == nil || p.Confidence == nil || !p.Calibrated {
		t.Fatalf("incomplete prediction %+v", p)
	}
	return testkit.Answer{Score: p.Score, Prediction: p.Prediction, Anomaly: *p.IsAnomaly, Confidence: *p.Confidence}
}

// TestCases sends every row of every case alone, in one batch and over WebSocket,
// under each of the three calibrations.
func TestCases(t *testing.T) {
	dir := t.TempDir()
	cases := testkit.Cases(t)
	for _, c := range cases {
		for version, method := range methods {
			testkit.CopyModel(t, dir, c.Name, c.Name, version, testkit.WithCalibration(method))
		}
	}
	h := testkit.Serve(t, testkit.Options{Dir: dir})
	for _, c := range cases {
		for version, method := range methods {
			t.Run(c.Name+"/"+method, func(t *testing.T) {
				check := func(how string, i int, p api.Prediction) {
					t.Helper()
					if p.ModelID != c.Name || p.ModelVersion != version {
						t.Fatalf("%s row %d: answered by %s %s", how, i, p.ModelID, p.ModelVersion)
					}
					if err := c.Check(i, method, answer(t, p)); err != nil {
						t.Errorf("%s row %d: %v", how, i, err)
					}
				}
				ws, _, err := websocket.DefaultDialer.Dial("ws"+h.URL[4:]+"/api/v1/predict/stream", nil)
				if err != nil {
					t.Fatal(err)
				}
				defer ws.Close()
				for i, row := range c.Rows {
					var p api.Prediction
					body := map[string]any{"data": row, "model_id": c.Name, "version": version}
					post(t, h.URL+"/api/v1/predict", body, http.StatusOK, &p)
					check("single", i, p)
					body["id"] = fmt.Sprint(i)
					if err := ws.WriteJSON(body); err != nil {
						t.Fatal(err)
					}
					var streamed api.Prediction
					if err := ws.ReadJSON(&streamed); err != nil {
						t.Fatal(err)
					}
					if streamed.ID != fmt.Sprint(i) {
						t.Fatalf("message %d was answered with id %v", i, streamed.ID)
					}
					check("websocket", i, streamed)
				}
				for _, size := range []int{1000, 7} {
					var b api.BatchResponse
					post(t, h.URL+"/api/v1/predict/batch", map[string]any{"data": c.Rows, "batch_size": size, "model_id": c.Name, "version": version}, http.StatusOK, &b)
					if b.TotalProcessed != len(c.Rows) || b.TotalFailed != 0 || len(b.Predictions) != len(c.Rows) {
						t.Fatalf("batch of %d: %+v", len(c.Rows), b)
					}
					anomalies := 0
					for i, p := range b.Predictions {
						check(fmt.Sprintf("batch by %d", size), i, p)
						if *p.IsAnomaly {
							anomalies++
						}
					}
					if anomalies != b.TotalAnomalies {
						t.Errorf("total_anomalies %d, counted %d", b.TotalAnomalies, anomalies)
					}
				}
			})
		}
	}
}
