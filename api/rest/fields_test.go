package rest_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestExplainedBatches checks that rows of a batch are explained as alone, beside rows
// that fail, and that what cannot be explained is refused with the reason.
func TestExplainedBatches(t *testing.T) {
	dir := twoModels(t)
	testkit.CopyModel(t, dir, "pima-lof", "coupled", "1.0.0", func(m string) string { return m + "batch_dependent: true\n" })
	testkit.CopyFile(t, testkit.Testdata("variants", "plain-sum.onnx"), dir+"/plain.onnx")
	h := testkit.Serve(t, testkit.Options{Dir: dir})
	rows := []string{goodRow, `[1]`, `[1,89,66,23,94,28.1,0.167,21]`}
	var all api.BatchResponse
	post(t, h.URL+"/api/v1/predict/batch", []byte(`{"model_id":"pima","return_explanation":true,"data":[`+strings.Join(rows, ",")+`]}`), 200, &all)
	if len(all.Predictions) != 3 || all.TotalFailed != 1 || all.Predictions[1].Error == nil {
		t.Fatalf("%+v", all)
	}
	for _, i := range []int{0, 2} {
		var one api.Prediction
		post(t, h.URL+"/api/v1/predict", []byte(`{"model_id":"pima","return_explanation":true,"data":`+rows[i]+`}`), 200, &one)
		if got := all.Predictions[i]; got.Explanation == nil || !reflect.DeepEqual(got.Explanation, one.Explanation) || got.Score != one.Score {
			t.Errorf("row %d is %+v in a batch and %+v alone", i, got, one)
		}
	}
	for id, row := range map[string]string{"coupled": goodRow, "plain": "[1,2,3,4]"} {
		resp, body := do(t, h, sent{path: "/api/v1/predict/batch", body: `{"model_id":"` + id + `","return_explanation":true,"data":[` + row + `]}`})
		var p api.Problem
		if json.Unmarshal(body, &p) != nil || resp.StatusCode != http.StatusBadRequest || p.Field != "return_explanation" || (id == "plain" && !strings.Contains(p.Detail, "`model calibrate` write")) {
			t.Errorf("%s: %s", id, body)
		}
	}
}

// TestFields checks that the predictions of a batch have the fields that the request
// names, with the values that they have without it.
func TestFields(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t)})
	ask := func(model, more string) []map[string]any {
		t.Helper()
		var all struct{ Predictions []map[string]any }
		post(t, h.URL+"/api/v1/predict/batch", []byte(`{"model_id":"`+model+`","data":[`+goodRow+`,[1]]`+more+`}`), 200, &all)
		if len(all.Predictions) != 2 || all.Predictions[1]["error"] == nil || len(all.Predictions[1]) != 1 {
			t.Fatalf("%+v", all.Predictions)
		}
		return all.Predictions
	}
	whole := ask("pima", "")[0]
	delete(whole, "prediction_time")
	delete(whole, "latency_ms")
	for name, value := range whole {
		if got := ask("pima", `,"fields":["`+name+`"]`)[0]; !reflect.DeepEqual(got, map[string]any{name: value}) {
			t.Errorf("%s: %v; want %v", name, got, value)
		}
	}
	for _, c := range []struct{ more, want string }{
		{`,"fields":["score","is_anomaly"]`, "is_anomaly score"},
		{`,"fields":["latency_ms","prediction_time","model_id"]`, "latency_ms model_id prediction_time"},
		{`,"fields":["score","score"],"return_explanation":true`, "explanation score"},
		{`,"fields":["model_id","score_difference"],"return_explanation":true`, "explanation model_id"},
		{`,"fields":["score_difference"]`, ""},
	} {
		names := slices.Sorted(maps.Keys(ask("pima", c.more)[0]))
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s: %s", c.more, got)
		}
	}
	for fields, want := range map[string]string{`[]`: "is empty", `"score"`: "must be an array", `["scores"]`: `did you mean "score"?`, `["score","explanation"]`: "set return_explanation", `[1]`: "must be an array", `{}`: "must be an array"} {
		resp, body := do(t, h, sent{path: "/api/v1/predict/batch", body: `{"model_id":"pima","data":[` + goodRow + `],"fields":` + fields + `}`})
		var p api.Problem
		if json.Unmarshal(body, &p) != nil || resp.StatusCode != http.StatusBadRequest || p.Field != "fields" || !strings.Contains(p.Detail, want) {
			t.Errorf("%s: %s", fields, body)
		}
	}
}

// TestRowsInTheWrongPlace checks that several rows, and one row, are pointed to where
// they belong.
func TestRowsInTheWrongPlace(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: twoModels(t)})
	for _, c := range []struct{ path, data, want string }{
		{"/api/v1/predict", `[` + goodRow + `]`, "/api/v1/predict/batch"},
		{"/api/v1/predict", `[ [1,2],[3,4]]`, "/api/v1/predict/batch"},
		{"/api/v1/predict/batch", `{"f0":1}`, "/api/v1/predict"},
	} {
		resp, body := do(t, h, sent{path: c.path, body: `{"model_id":"pima","data":` + c.data + `}`})
		var p api.Problem
		if json.Unmarshal(body, &p) != nil || resp.StatusCode != http.StatusBadRequest || p.Field != "data" || !strings.Contains(p.Detail, c.want) {
			t.Errorf("%s %s: %s", c.path, c.data, body)
		}
	}
	c := dialSocket(t, h)
	if err := c.WriteMessage(1, []byte(`{"model_id":"pima","data":[[1,2]]}`)); err != nil {
		t.Fatal(err)
	}
	if _, text, err := c.ReadMessage(); err != nil || !strings.Contains(string(text), "one in each message") {
		t.Errorf("%s, %v", text, err)
	}
}
