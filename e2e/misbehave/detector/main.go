// Command detector is ECOD as a WASM plugin that misbehaves, after a number of good
// calls, as the config of its model says:
//
//	config: {fault: constant, after: 30}           # every score is 10
//	config: {fault: inverted, after: 30}           # the least anomalous rows score highest
//	config: {fault: slow, after: 30, times: 2000}  # each row is scored so many times
//	config: {fault: nan, after: 30, every: 33}     # every 33rd row scores NaN
//	config: {fault: error, after: 30, every: 20}   # every 20th call fails
//
// Calls are counted by each instance.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
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
	After int    `json:"after"`
	Times int    `json:"times"`
	Every int    `json:"every"`
}

// Scores of the training rows lie between 6 and 28.
const (
	constant = 10
	highest  = 28
)

var errAsked = errors.New("the model asks for this error")

// misbehaving wraps a detector.
func misbehaving(good wasm.Detector) wasm.Detector {
	var s settings
	calls, rows := 0, 0
	out := good
	out.Init = func(setup wasm.Setup) error {
		if err := json.Unmarshal(setup.Config, &s); err != nil {
			return fmt.Errorf("reading config: %w", err)
		}
		s.Every, s.Times = max(s.Every, 1), max(s.Times, 1)
		setup.Config = nil
		return good.Init(setup)
	}
	out.Score = func(in wasm.Matrix, scores []float64) error {
		if err := good.Score(in, scores); err != nil {
			return err
		}
		if calls++; calls <= s.After {
			return nil
		}
		switch s.Fault {
		case "error":
			if calls%s.Every == 0 {
				return errAsked
			}
		case "slow":
			for range s.Times - 1 {
				if err := good.Score(in, scores); err != nil {
					return err
				}
			}
		}
		for i := range scores {
			rows++
			switch {
			case s.Fault == "constant":
				scores[i] = constant
			case s.Fault == "inverted":
				scores[i] = highest - scores[i]
			case s.Fault == "nan" && rows%s.Every == 0:
				scores[i] = math.NaN()
			}
		}
		return nil
	}
	return out
}
