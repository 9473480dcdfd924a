package conformance_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/conformance"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/sdk/sdktest"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// TestModels runs the kit on every kind of model: the sample ONNX graphs, the sample
// plugins of each language, and the reference detectors.
func TestModels(t *testing.T) {
	with := testkit.Backends(t, testkit.Proofs())
	samples, err := os.ReadDir(testkit.Testdata("models"))
	if err != nil {
		t.Fatal(err)
	}
	copies := t.TempDir()
	for _, s := range samples {
		testkit.CopyModel(t, copies, s.Name(), s.Name(), "1.0.0", nil)
	}
	var places []modelstore.Place
	for _, dir := range []string{copies, testkit.FittedModels(t)} {
		all, err := modelstore.Find(dir)
		if err != nil {
			t.Fatal(err)
		}
		places = append(places, all...)
	}
	for _, at := range places {
		if at.ID == "cardio-iforest" {
			continue // the same forest as cardio-iforest-fused, which opens a hundred times faster
		}
		t.Run(at.ID, func(t *testing.T) {
			open, o, err := conformance.Model(t.Context(), at, with)
			if err != nil {
				t.Fatal(err)
			}
			o.LargeRows = 2000
			if o.Tolerance > 1e-9 { // a graph: the soak test finds leaks of its runtime
				o.Calls = 1000
			}
			sdktest.Run(t, open, o)
		})
	}
}

// TestBareModule checks a module without a directory, which describes itself.
func TestBareModule(t *testing.T) {
	file := filepath.Join(t.TempDir(), "counter.wasm")
	if err := os.WriteFile(file, testkit.Guest(t, "counter"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := modelstore.Find(file)
	if err != nil {
		t.Fatal(err)
	}
	open, o, err := conformance.Model(t.Context(), all[0], testkit.Backends(t, testkit.Proofs()))
	if err != nil {
		t.Fatal(err)
	}
	sdktest.Run(t, open, o)
}
