// Command go scores a batch of rows on a host:
//
//	go run ./examples/go [URL of a host]
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/client"
)

var rows = []any{
	[]float64{8, 155, 62, 26, 495, 34, 0.543, 46},
	[]float64{1, 89, 66, 23, 94, 28.1, 0.167, 21},
	[]float64{1, 89, 66}, // too short: this row fails, the others do not
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
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := client.New(client.Config{URL: host})
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	defer c.Close()
	answer, err := c.PredictBatch(ctx, &api.BatchRequest{ModelID: "pima-lof", Data: rows})
	if err != nil {
		return fmt.Errorf("asking the host: %w", err) // errors.As finds the host's *api.Problem
	}
	for i, p := range answer.Predictions { // one for each row, in order
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
