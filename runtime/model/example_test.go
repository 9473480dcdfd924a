package model_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// Open the contents that the catalog has read, and score a row.
func ExampleOpen() {
	ctx := context.Background()
	root, err := os.OpenRoot(testkit.Testdata("models"))
	if err != nil {
		panic(err)
	}
	defer root.Close()
	files, err := catalog.Read(root, catalog.Location{ID: "pima-lof", Version: "1.0.0", Dir: "pima-lof/1.0.0"}, catalog.Policy{}, nil)
	if err != nil {
		panic(err)
	}
	library := onnx.New(onnx.Config{Library: testkit.Library(), Probe: onnx.ProbeChild, Log: slog.New(slog.DiscardHandler)})
	m, err := model.Open(ctx, files, model.Backends{manifest.BackendONNX: library}, batching.NewCalls(1))
	if err != nil {
		panic(err)
	}
	defer m.Close()

	rows := m.Decoder()
	rows.Begin()
	for j, text := range []string{"8", "155", "62", "26", "495", "34", "0.543", "46"} {
		rows.Text(j, text)
	}
	rows.End()
	scores := make([]float64, rows.Batch().Rows())
	if _, err := m.Predict(ctx, rows.Batch(), 0, scores); err != nil {
		panic(err)
	}
	p := m.Judge(scores[0], true)
	fmt.Printf("score %.3f, %.2f of 1, anomaly %v\n", p.Score, p.Value, p.Anomaly)
	// Output: score 0.124, 0.97 of 1, anomaly true
}
