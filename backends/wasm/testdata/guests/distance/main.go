// Command distance is a plugin for the tests: its score is the distance of a row
// from a centre that its config or a file gives.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

type distance struct{ centre []float64 }

func init() {
	d := &distance{}
	wasm.Register(wasm.Detector{Describe: d.describe, Init: d.init, Score: d.score, Explain: d.explain})
}

func main() {}

func (d *distance) describe() wasm.Description {
	return wasm.Description{Name: "distance", Version: "1.0.0", Algorithm: "distance", DType: "float64", Features: []string{"x", "y"}}
}

func (d *distance) init(s wasm.Setup) error {
	var config struct{ Centre []float64 }
	if err := json.Unmarshal(s.Config, &config); err != nil {
		return fmt.Errorf("reading config: %w", err)
	}
	if text, ok := s.Files["centre.txt"]; ok {
		for _, field := range strings.Fields(string(text)) {
			v, err := strconv.ParseFloat(field, 64)
			if err != nil {
				return err
			}
			config.Centre = append(config.Centre, v)
		}
	}
	if len(config.Centre) != len(s.Features) {
		return fmt.Errorf("the centre has %d values for %d features", len(config.Centre), len(s.Features))
	}
	fmt.Fprintln(os.Stderr, "ready")
	d.centre = config.Centre
	return nil
}

func (d *distance) score(in wasm.Matrix, out []float64) error {
	for i := range in.Rows {
		row := in.Float64s[i*in.Cols : (i+1)*in.Cols]
		switch row[0] {
		case -1000:
			return errors.New("a row is far too far left")
		case -2000:
			panic("torn")
		case -3000:
			for {
			}
		}
		sum := 0.0
		for j, v := range row {
			sum += (v - d.centre[j]) * (v - d.centre[j])
		}
		out[i] = math.Sqrt(sum)
	}
	return nil
}

func (d *distance) explain(in wasm.Matrix, out []float64) error {
	for i := range in.Rows {
		for j := range in.Cols {
			out[i*(1+in.Cols)+1+j] = math.Abs(in.Float64s[i*in.Cols+j] - d.centre[j])
		}
		out[i*(1+in.Cols)] = 0
	}
	return nil
}
