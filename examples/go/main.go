// Command go scores a batch of rows:
//
//	go run ./examples/go [URL of a host]
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api"
)

var rows = []any{
	[]float64{8, 155, 62, 26, 495, 34, 0.543, 46},
	[]float64{1, 89, 66, 23, 94, 28.1, 0.167, 21},
	[]float64{1, 89, 66}, // too short: it gets an error of its own
}

func main() {
	host := "http://127.0.0.1:8080"
	if len(os.Args) > 1 {
		host = os.Args[1]
	}
	if err := run(host); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(host string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	predictions, err := predict(ctx, host, "pima-lof", rows)
	if err != nil {
		return err
	}
	for i, p := range predictions {
		switch {
		case p.Error != nil:
			fmt.Printf("row %d: %s: %s\n", i, p.Error.ErrorType, p.Error.Detail)
		case p.IsAnomaly == nil: // the model has no threshold
			fmt.Printf("row %d: score %.4f\n", i, p.Score)
		default:
			fmt.Printf("row %d: score %.4f anomaly %t\n", i, p.Score, *p.IsAnomaly)
		}
	}
	return nil
}

// predict returns one prediction a row, in order. A row that failed has an Error.
func predict(ctx context.Context, host, model string, rows []any) ([]api.Prediction, error) {
	body, err := json.Marshal(api.BatchRequest{ModelID: model, Data: rows})
	if err != nil {
		return nil, fmt.Errorf("encoding rows: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, host+"/api/v1/predict/batch", bytes.NewReader(body)) //nolint:gosec // the user says where the host is
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req) //nolint:gosec // the same
	if err != nil {
		return nil, fmt.Errorf("asking the host: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var problem api.Problem
		if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil {
			return nil, fmt.Errorf("asking the host: %s", resp.Status)
		}
		return nil, fmt.Errorf("asking the host: %s: %s: %s", resp.Status, problem.ErrorType, problem.Detail)
	}
	var answer api.BatchResponse
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	return answer.Predictions, nil
}
