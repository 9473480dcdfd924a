// Command clients makes calls with the client that oapi-codegen generates.
//
// usage: clients URL
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"clients/client"
)

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string) error {
	c, err := client.NewClientWithResponses(url)
	if err != nil {
		return err
	}
	models, err := c.ListModelsWithResponse(ctx)
	if err != nil || models.JSON200 == nil || models.JSON200.Total == 0 {
		return fmt.Errorf("models: %+v, %w", models, err)
	}
	named, listed := client.NamedRow{}, client.ListedRow{}
	for i, number := range []float64{8, 155, 62, 26, 495, 34, 0.543, 46} {
		var v client.Value
		if err := v.FromValue0(number); err != nil {
			return err
		}
		named[fmt.Sprintf("f%d", i)], listed = &v, append(listed, &v)
	}
	model, yes := "pima-lof", true
	one, err := predict(ctx, c, client.PredictRequest{ModelId: &model, ReturnExplanation: &yes}, func(r *client.Row) error { return r.FromNamedRow(named) })
	if err != nil || one.JSON200 == nil || one.JSON200.IsAnomaly == nil || !*one.JSON200.IsAnomaly || one.JSON200.Explanation == nil {
		return fmt.Errorf("predict: %+v, %w", one, err)
	}
	score := one.JSON200.Score
	again, err := predict(ctx, c, client.PredictRequest{ModelId: &model}, func(r *client.Row) error { return r.FromListedRow(listed) })
	if err != nil || again.JSON200 == nil || again.JSON200.Score != score {
		return fmt.Errorf("predict: %+v, %w", again, err)
	}
	many, err := c.PredictBatchWithResponse(ctx, nil, client.BatchRequest{ModelId: &model, Data: []any{listed, []any{1}}})
	if err != nil || many.JSON200 == nil || many.JSON200.TotalFailed != 1 || *many.JSON200.Predictions[0].Score != score || many.JSON200.Predictions[1].Error.Status != 422 {
		return fmt.Errorf("batch: %+v, %w", many, err)
	}
	few, err := c.PredictBatchWithResponse(ctx, nil, client.BatchRequest{ModelId: &model, Data: []any{listed}, Fields: &[]client.BatchRequestFields{"score"}})
	if err != nil || few.JSON200 == nil || *few.JSON200.Predictions[0].Score != score || few.JSON200.Predictions[0].Threshold != nil {
		return fmt.Errorf("batch: %+v, %w", few, err)
	}
	none := "none"
	missing, err := predict(ctx, c, client.PredictRequest{ModelId: &none}, func(r *client.Row) error { return r.FromListedRow(listed) })
	if err != nil || missing.StatusCode() != http.StatusNotFound || missing.ApplicationproblemJSON404 == nil || missing.ApplicationproblemJSON404.ErrorType != "ModelNotFound" {
		return fmt.Errorf("an unknown model: %+v, %w", missing, err)
	}
	return nil
}

func predict(ctx context.Context, c *client.ClientWithResponses, r client.PredictRequest, data func(*client.Row) error) (*client.PredictResponse, error) {
	if err := data(&r.Data); err != nil {
		return nil, err
	}
	return c.PredictWithResponse(ctx, nil, r)
}
