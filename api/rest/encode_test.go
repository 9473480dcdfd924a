package rest_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// same reports whether an answer is unchanged after decoding it into a type of
// package api and encoding it with encoding/json.
func same(t *testing.T, text []byte, into any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	again, err := json.Marshal(into)
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(again, &b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(normal(a), normal(b)) {
		t.Errorf("the answer is\n%s\nits type writes\n%s", text, again)
	}
}

// normal drops what only the Go type of a failed row has, and trailing zeros of
// times.
func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if e, failed := v["error"]; failed {
			return map[string]any{"error": normal(e)}
		}
		delete(v, "prediction_time")
		for k := range v {
			v[k] = normal(v[k])
		}
	case []any:
		for i := range v {
			v[i] = normal(v[i])
		}
	}
	return v
}

// TestAnswersAreTheirTypes checks that the answers encoded by hand match the types
// of package api.
func TestAnswersAreTheirTypes(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"pima-lof", "breast-cancer-mixed", "mammography-gmm"} {
		testkit.CopyModel(t, dir, name, name, "1.0.0", nil)
	}
	testkit.CopyFile(t, testkit.Testdata("variants", "plain-sum.onnx"), dir+"/bare.onnx")
	h := testkit.Serve(t, testkit.Options{Dir: dir})
	for _, body := range []string{
		`{"model_id":"pima-lof","data":` + goodRow + `,"return_explanation":true}`,
		`{"model_id":"pima-lof","data":` + goodRow + `,"return_confidence":false}`,
		`{"model_id":"mammography-gmm","data":[0.1,0.2,0.3,0.4,0.5,1e-9],"return_explanation":true}`,
		`{"model_id":"bare","data":[1e21,2,3,4]}`,
		`{"model_id":"bare","data":[1e-7,0,0,0]}`,
		`{"model_id":"bare","data":[-0,0,0,0]}`,
		`{"model_id":"bare","data":[1]}`,
	} {
		resp, text := do(t, h, sent{path: "/api/v1/predict", body: body})
		if resp.StatusCode == http.StatusOK {
			same(t, text, &api.Prediction{})
		} else {
			same(t, text, &api.Problem{})
		}
	}
	_, text := do(t, h, sent{path: "/api/v1/predict/batch", body: `{"model_id":"bare","data":[[1,2,3,4],[1],[3.3e38,3.3e38,0,0],[5,6,7,8]]}`})
	same(t, text, &api.BatchResponse{})
	row := testkit.Cases(t)[0].Rows[0]
	mixed, err := json.Marshal(map[string]any{"model_id": testkit.Cases(t)[0].Name, "data": row, "return_explanation": true})
	if err != nil {
		t.Fatal(err)
	}
	_, text = do(t, h, sent{path: "/api/v1/predict", body: string(mixed)})
	same(t, text, &api.Prediction{})
}
