// Command generator makes calls with the Go client that openapi-generator writes.
//
// usage: generator URL
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"

	"generator/client"
)

func main() {
	if err := run(context.Background(), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string) error {
	c := client.NewConfiguration()
	c.Servers = client.ServerConfigurations{{URL: url}}
	api := client.NewAPIClient(c)
	models, _, err := api.ModelsAPI.ListModels(ctx).Execute()
	if err != nil || models.Total == 0 {
		return fmt.Errorf("models: %+v, %w", models, err)
	}
	numbers := []float64{8, 155, 62, 26, 495, 34, 0.543, 46}
	named, listed, plain := map[string]client.Value{}, []client.Value{}, []any{}
	for i := range numbers {
		v := client.Value{Float64: &numbers[i]}
		named[fmt.Sprintf("f%d", i)], listed, plain = v, append(listed, v), append(plain, numbers[i])
	}
	one, _, err := predict(ctx, api, "pima-lof", client.MapmapOfStringValueAsRow(&named))
	if err != nil || !one.GetIsAnomaly() || one.Explanation == nil {
		return fmt.Errorf("predict: %+v, %w", one, err)
	}
	again, _, err := predict(ctx, api, "pima-lof", client.ArrayOfValueAsRow(&listed))
	if err != nil || again.Score != one.Score {
		return fmt.Errorf("predict: %+v, %w", again, err)
	}
	batch := client.NewBatchRequest([]any{plain, []any{1}})
	batch.SetModelId("pima-lof")
	many, _, err := api.PredictAPI.PredictBatch(ctx).BatchRequest(*batch).Execute()
	if err != nil || many.TotalFailed != 1 || many.Predictions[0].GetScore() != one.Score || many.Predictions[1].Error == nil || many.Predictions[1].Error.Status != http.StatusUnprocessableEntity {
		return fmt.Errorf("batch: %+v, %w", many, err)
	}
	_, resp, err := predict(ctx, api, "none", client.ArrayOfValueAsRow(&listed))
	var problem *client.GenericOpenAPIError
	if !errors.As(err, &problem) || resp.StatusCode != http.StatusNotFound {
		return fmt.Errorf("an unknown model: %w", err)
	}
	return nil
}

func predict(ctx context.Context, api *client.APIClient, model string, row client.Row) (*client.Prediction, *http.Response, error) {
	r := client.NewPredictRequest(row)
	r.SetModelId(model)
	r.SetReturnExplanation(true)
	return api.PredictAPI.Predict(ctx).PredictRequest(*r).Execute()
}
