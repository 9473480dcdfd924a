package model_test

import (
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
)

// BenchmarkLoad measures the host's cost of loading a proved and compiled model.
func BenchmarkLoad(b *testing.B) {
	with := testkit.Backends(b, testkit.Proofs())
	for _, id := range []string{"cardio-iforest-fused", "pima-lof", "thyroid-ocsvm", "ecod-c"} {
		b.Run(id, func(b *testing.B) {
			at := modelstore.Place{Dir: testkit.Testdata("models"), Location: catalog.Location{ID: id, Version: "1.0.0", Dir: id + "/1.0.0"}}
			b.ReportAllocs()
			for range b.N {
				m, err := at.Open(b.Context(), with, batching.NewCalls(1))
				if err != nil {
					b.Fatal(err)
				}
				if err := m.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
