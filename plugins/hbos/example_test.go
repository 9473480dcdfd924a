package hbos_test

import (
	"fmt"

	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/plugins/hbos"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

func ExampleFit() {
	fitted, err := hbos.Fit(fit.Data{Rows: 5, Cols: 1, Values: []float64{1, 2, 2, 3, 10}}, fit.DefaultOptions())
	if err != nil {
		panic(err)
	}
	setup := wasm.Setup{Features: []wasm.Feature{{Name: "x"}}, Files: fitted.Files}
	scores, err := wasm.Run(hbos.New(), setup, [][]float64{{2}, {11}})
	fmt.Printf("%.3f %v\n", scores, err)
	// Output: [0.877 3.322] <nil>
}
