package main

import (
	"context"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/sdktest"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

// setup returns what the host passes to Init: columns x, y and the file.
func setup(train []float64, columns ...string) wasm.Setup {
	s := wasm.Setup{DType: "float64", Files: map[string][]byte{}}
	for _, name := range columns {
		s.Features = append(s.Features, wasm.Feature{Name: name, DType: "float64"})
	}
	var data []byte
	for _, v := range train {
		data = binary.LittleEndian.AppendUint64(data, math.Float64bits(v))
	}
	s.Files["train.f64"] = data
	return s
}

var train = []float64{1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 1, 1, 9}

func TestScores(t *testing.T) {
	got, err := wasm.Run(newECOD(), setup(train, "x", "y"), [][]float64{{4, 0}, {100, 0}, {4, 100}, {math.NaN(), 0}})
	if err != nil {
		t.Fatal(err)
	}
	third := -math.Log(5.0 / 8) // x = 4 is the middle of a symmetric column: both tails count
	for i, want := range []float64{2*third - math.Log(5.0/8), math.Log(8) - math.Log(5.0/8), 2*third + math.Log(8)} {
		if math.Abs(got[i]-want) > 1e-12 {
			t.Errorf("row %d scored %v, not %v", i, got[i], want)
		}
	}
	if !math.IsNaN(got[3]) {
		t.Errorf("a missing value scored %v", got[3])
	}
}

func TestRefusals(t *testing.T) {
	for want, s := range map[string]wasm.Setup{
		"no file train.f64": {Features: setup(nil, "x").Features},
		"no features":       setup(train),
		"not a multiple":    setup(train[:3], "x", "y"),
		"at least 2":        setup(train[:2], "x", "y"),
		"not finite":        setup([]float64{1, math.NaN()}, "x"),
	} {
		if _, err := wasm.Run(newECOD(), s, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestConformance checks what the host relies on.
func TestConformance(t *testing.T) {
	sdktest.Run(t, func(context.Context) (sdk.Scorer, error) { return wasm.NewScorer(newECOD(), setup(train, "x", "y")) }, sdktest.Options{})
}
