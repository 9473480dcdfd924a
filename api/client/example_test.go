package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/client"
)

// host returns a server that stands for a running host.
func host() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/predict/batch" {
			w.Header().Set("Content-Type", api.ProblemContentType)
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"title":"ModelNotFound","status":404,"error_type":"ModelNotFound","detail":"there is no model \"prima\", did you mean \"pima\"?"}`)
			return
		}
		fmt.Fprint(w, `{"predictions":[{"score":0.125,"is_anomaly":true},{"error":{"error_type":"RowError","detail":"row 1: has 1 values; the model has 2 features"}}],"total_failed":1}`)
	}))
}

func ExampleClient_PredictBatch() {
	h := host()
	defer h.Close()
	c, err := client.New(client.Config{URL: h.URL})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	answer, err := c.PredictBatch(context.Background(), &api.BatchRequest{ModelID: "pima", Data: []any{[]float64{8, 155}, []float64{1}}})
	if err != nil {
		panic(err)
	}
	for i, p := range answer.Predictions {
		if p.Error != nil {
			fmt.Println(i, p.Error.Detail)
			continue
		}
		fmt.Println(i, p.Score, *p.IsAnomaly)
	}
	// Output:
	// 0 0.125 true
	// 1 row 1: has 1 values; the model has 2 features
}

// A host reports what is wrong as an *api.Problem.
func Example_errors() {
	h := host()
	defer h.Close()
	c, err := client.New(client.Config{URL: h.URL})
	if err != nil {
		panic(err)
	}
	defer c.Close()
	_, err = c.Stats(context.Background(), "prima", client.StatsQuery{})
	var p *api.Problem
	if errors.As(err, &p) && p.ErrorType == api.ModelNotFound {
		fmt.Println(p.Status, p.Detail)
	}
	// Output: 404 there is no model "prima", did you mean "pima"?
}
