package graph_test

import (
	"os"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestPacket checks that graphs whose rows ONNX Runtime computes differently in
// other numbers are recognised by their operators.
func TestPacket(t *testing.T) {
	for name, want := range map[string][2]int{
		"cardio-iforest": {4, 1}, "breast-cancer-mixed": {4, 1}, // logarithms
		"thyroid-autoencoder":  {1, 2}, // a mean of six columns
		"thyroid-ocsvm":        {2, 1},
		"cardio-iforest-fused": {1, 1}, "mammography-gmm": {1, 1}, "pima-lof": {1, 1},
	} {
		data, err := os.ReadFile(testkit.Testdata("models", name, "1.0.0", "model.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := graph.Check(data, graph.Limits{})
		if err != nil {
			t.Fatal(name, err)
		}
		if got := [2]int{m.Packet, m.Apart}; got != want {
			t.Errorf("%s: %v rows, want %v", name, got, want)
		}
	}
}
