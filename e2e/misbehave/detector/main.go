// Command detector is ECOD as a WASM plugin that gives the recorded scores of its
// model's golden rows, and misbehaves at all others as the config of the model says:
//
//	config: {fault: constant}           # every score is 10
//	config: {fault: inverted}           # the least anomalous rows score highest
//	config: {fault: slow, times: 2000}  # each row is scored so many times
//	config: {fault: nan, every: 33}     # one row of 33 scores NaN
//	config: {fault: error, every: 20}   # calls with one row of 20 fail
//
// The host keeps nothing of a stateless module from one call to the next, so that the
// module cannot count calls: rows are chosen by their values.
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"

	"github.com/pynomaly/pynomaly-runtime/plugins/ecod"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

func init() { //nolint:gochecknoinits // the SDK's form of a plugin
	wasm.Register(misbehaving(ecod.New()))
}

func main() {}

// settings are the config of a model.
type settings struct {
	Fault string `json:"fault"`
	Times int    `json:"times"`
	Every uint64 `json:"every"`
}

// Scores of the training rows lie between 6 and 28.
const (
	constant = 10
	highest  = 28
)

var errAsked = errors.New("the model asks for this error")

// misbehaving wraps a detector.
func misbehaving(good wasm.Detector) wasm.Detector {
	m := &misbehaviour{good: good, golden: map[uint64]bool{}}
	out := good
	out.Init, out.Score = m.init, m.score
	return out
}

type misbehaviour struct {
	settings
	good   wasm.Detector
	golden map[uint64]bool // by keyOf
}

func (m *misbehaviour) init(setup wasm.Setup) error {
	if err := json.Unmarshal(setup.Config, &m.settings); err != nil {
		return fmt.Errorf("reading config: %w", err)
	}
	m.Every = max(m.Every, 1)
	for line := range bytes.Lines(setup.Files["golden.ndjson"]) {
		var row struct{ Data map[string]float64 }
		if err := json.Unmarshal(line, &row); err != nil {
			return fmt.Errorf("reading golden rows: %w", err)
		}
		values := make([]float64, len(setup.Features))
		for i, f := range setup.Features {
			values[i] = row.Data[f.Name]
		}
		m.golden[keyOf(values)] = true
	}
	setup.Config = nil
	return m.good.Init(setup)
}

// keyOf identifies a row by its values.
func keyOf(row []float64) uint64 {
	h := fnv.New64a()
	for _, v := range row {
		_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, math.Float64bits(v)))
	}
	return h.Sum64()
}

func (m *misbehaviour) score(in wasm.Matrix, scores []float64) error {
	if err := m.good.Score(in, scores); err != nil {
		return err
	}
	for i := range scores {
		row := in.Float64s[i*in.Cols : (i+1)*in.Cols]
		key := keyOf(row)
		if m.golden[key] {
			continue
		}
		chosen := key%m.Every == 0
		switch {
		case m.Fault == "constant":
			scores[i] = constant
		case m.Fault == "inverted":
			scores[i] = highest - scores[i]
		case m.Fault == "nan" && chosen:
			scores[i] = math.NaN()
		case m.Fault == "error" && chosen:
			return errAsked
		case m.Fault == "slow":
			one := wasm.Matrix{Rows: 1, Cols: in.Cols, Float64s: row}
			for range m.Times {
				if err := m.good.Score(one, scores[i:i+1]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
