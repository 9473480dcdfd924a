package state_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/state"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// A later model of the same artifact finds what a former one has learned.
func ExampleSnapshots() {
	learner := model.Backends{manifest.BackendONNX: modeltest.Bare{Make: modeltest.NewCounter}}
	m, err := model.Open(context.Background(), files(), learner, batching.NewCalls(1))
	if err != nil {
		panic(err)
	}
	defer m.Close()
	row := sdk.NewBatch(m.Schema().Features())
	row.Resize(1)
	if err := m.Learn(context.Background(), row); err != nil {
		panic(err)
	}
	learned, err := m.Save(context.Background(), nil)
	if err != nil {
		panic(err)
	}

	s := state.New("", slog.New(slog.DiscardHandler))
	if err := s.Write(m, learned); err != nil {
		panic(err)
	}
	again, err := s.Read(m)
	fmt.Printf("%x %v\n", again, err)
	// Output: 0100000000000000 <nil>
}

// files returns a stateful model.
func files() *catalog.Contents {
	m := manifest.Defaults()
	m.ID, m.Version, m.Backend, m.Stateful = "counts", "1.0.0", manifest.BackendONNX, true
	m.Features = []manifest.Feature{{Feature: sdk.Feature{Name: "x", DType: sdk.Float64}}}
	return &catalog.Contents{Manifest: m, Digest: "sha256:0"}
}
