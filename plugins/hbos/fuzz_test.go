package hbos_test

import (
	"math"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/plugins/hbos"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

// FuzzFile checks that a file of histograms is refused or gives scores.
func FuzzFile(f *testing.F) {
	f.Add([]byte(`{"smoothing":0.1,"tolerance":0.5,"features":[{"edges":[0,1,2],"density":[0.25,0.75]}]}`))
	f.Add([]byte(`{"features":[{"edges":[1,0],"density":[1]}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		setup := wasm.Setup{Features: []wasm.Feature{{Name: "x"}}, Files: map[string][]byte{hbos.File: data}}
		scores, err := wasm.Run(hbos.New(), setup, [][]float64{{0.5}, {-1e9}, {1e9}})
		for _, v := range scores {
			if err == nil && math.IsNaN(v) {
				t.Errorf("scores %v", scores)
			}
		}
	})
}
