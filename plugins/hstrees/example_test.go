package hstrees_test

import (
	"fmt"

	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/plugins/hstrees"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

func ExampleFit() {
	train := fit.Data{Rows: 400, Cols: 2}
	for i := range train.Rows {
		train.Values = append(train.Values, float64(i%7), float64(i%5))
	}
	options := fit.DefaultOptions()
	options.Window = 100
	fitted, err := hstrees.Fit(train, options)
	if err != nil {
		panic(err)
	}
	setup := wasm.Setup{Features: []wasm.Feature{{Name: "x"}, {Name: "y"}}, Files: fitted.Files}
	scores, err := wasm.Run(hstrees.New(), setup, [][]float64{{3, 2}, {60, -50}})
	fmt.Println(scores[1] > scores[0], err)
	// Output: true <nil>
}
