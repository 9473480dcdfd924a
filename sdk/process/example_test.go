package process_test

import (
	"context"
	"fmt"
	"os"

	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/process"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

// largest scores a row with its largest value.
type largest struct{ features []sdk.Feature }

func (l largest) Info() sdk.Info {
	return sdk.Info{Name: "largest", Features: l.features, Concurrency: 8}
}
func (largest) Close() error { return nil }

func (l largest) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	d := len(l.features)
	for i := range out {
		out[i] = in.Float64s()[i*d]
		for _, v := range in.Float64s()[i*d : (i+1)*d] {
			out[i] = max(out[i], v)
		}
	}
	return nil
}

// A plugin's main function serves a detector. If a person starts the program,
// it prints what it is.
func ExampleServe() {
	d := process.Detector{
		Describe: func() process.Description {
			return process.Description{Name: "largest", Version: "1.0.0", DType: "float64", Concurrency: 8}
		},
		Open: func(_ context.Context, s process.Setup) (sdk.Scorer, error) { return largest{s.Features}, nil },
	}
	if len(os.Args) == 1 { // as in main
		process.Serve(d)
	}
	fmt.Println(d.Describe().Name)
	// Output: largest
}

// A detector written for a WASM module also serves as a process plugin.
func ExampleFromWASM() {
	d := process.FromWASM(wasm.Detector{
		Describe: func() wasm.Description { return wasm.Description{Name: "first", Version: "1.0.0", DType: "float64"} },
		Score: func(in wasm.Matrix, out []float64) error {
			for i := range out {
				out[i] = in.Float64s[i*in.Cols]
			}
			return nil
		},
	})
	s, err := d.Open(context.Background(), process.Setup{Features: []sdk.Feature{{Name: "x", DType: sdk.Float64}}})
	if err != nil {
		panic(err)
	}
	in := sdk.NewBatch(s.Info().Features)
	in.Resize(2)
	copy(in.Float64s(), []float64{3, 4})
	out := make([]float64, 2)
	err = s.Score(context.Background(), in, out)
	fmt.Println(out, err)
	// Output: [3 4] <nil>
}
