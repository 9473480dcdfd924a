package api_test

import (
	"encoding/json"
	"fmt"

	"github.com/pynomaly/pynomaly-runtime/api"
)

func ExampleNewProblem() {
	p := api.NewProblem(api.RowError, "f1", "is missing: give it a value")
	text, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	fmt.Println(p.Status, string(text))
	// Output:
	// 422 {"type":"about:blank","title":"RowError","status":422,"detail":"is missing: give it a value","error_type":"RowError","field":"f1"}
}

func ExampleBatchRequest() {
	text, err := json.Marshal(api.BatchRequest{ModelID: "pima-lof", Data: []any{
		map[string]any{"f0": 8, "f1": 155},
		[]any{1, 89},
	}})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
	// Output: {"data":[{"f0":8,"f1":155},[1,89]],"model_id":"pima-lof"}
}
