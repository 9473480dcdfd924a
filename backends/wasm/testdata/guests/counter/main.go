// Command counter is a stateful plugin for the tests: the score of a row is how
// many rows it has learned.
package main

import (
	"encoding/binary"
	"errors"

	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

type counter struct{ rows uint64 }

func init() {
	c := &counter{}
	wasm.Register(wasm.Detector{Describe: c.describe, Score: c.score, Learn: c.learn, Save: c.save, Load: c.load})
}

func main() {}

func (c *counter) describe() wasm.Description {
	return wasm.Description{Name: "counter", Version: "1.0.0", DType: "float64", Features: []string{"x"}, Stateful: true}
}

func (c *counter) score(in wasm.Matrix, out []float64) error {
	for i, v := range in.Float64s {
		if v == -1 {
			panic("torn")
		}
		out[i] = float64(c.rows)
	}
	return nil
}

func (c *counter) learn(in wasm.Matrix) error {
	c.rows += uint64(in.Rows)
	return nil
}

func (c *counter) save() ([]byte, error) {
	if c.rows == 0 {
		return nil, nil // nothing to keep
	}
	return binary.LittleEndian.AppendUint64(nil, c.rows), nil
}

func (c *counter) load(state []byte) error {
	if len(state) != 8 {
		return errors.New("a state has 8 bytes")
	}
	c.rows = binary.LittleEndian.Uint64(state)
	return nil
}
