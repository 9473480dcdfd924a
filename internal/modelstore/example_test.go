package modelstore_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// This example finds, opens and calls a model without a registry or a server.
func ExamplePlace_Open() {
	ctx := context.Background()
	found, err := modelstore.Find(testkit.Testdata("models", "pima-lof", "1.0.0"))
	if err != nil {
		panic(err)
	}
	library := onnx.New(onnx.Config{Library: testkit.Library(), Probe: onnx.ProbeChild, Log: slog.New(slog.DiscardHandler)})
	model, err := found[0].Open(ctx, model.Backends{manifest.BackendONNX: library}, batching.NewCalls(1))
	if err != nil {
		panic(err)
	}
	defer model.Close()

	row := model.Decoder()
	row.Begin()
	for j, text := range []string{"8", "155", "62", "26", "495", "34", "0.543", "46"} {
		row.Text(j, text)
	}
	row.End()
	scores := make([]float64, row.Batch().Rows())
	failed, err := model.Predict(ctx, row.Batch(), 0, scores)
	if err != nil {
		panic(err)
	}
	p := model.Judge(scores[0], true)
	fmt.Printf("%d failed, score %.3f, %.2f of 1, anomaly %v\n", len(failed), p.Score, p.Value, p.Anomaly)
	// Output: 0 failed, score 0.124, 0.97 of 1, anomaly true
}
