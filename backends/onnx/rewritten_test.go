//go:build cgo

package onnx_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// invent fills rows with numbers of all sizes, and strings.
func invent(b *sdk.Batch, random *rand.Rand) error {
	for i := range b.Rows() {
		for j, f := range b.Features() {
			var v any
			switch x := random.NormFloat64() * math.Pow(10, float64(random.IntN(5)-2)); f.DType {
			case sdk.Float32:
				v = float32(x)
			case sdk.Float64:
				v = x
			case sdk.Int64:
				v = int64(x)
			case sdk.String:
				v = string(rune('a' + random.IntN(6)))
			default:
				v = x > 0
			}
			if err := b.SetValue(i, j, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// scores returns a session's scores of invented rows.
func scores(t *testing.T, s sdk.Scorer, rows int) ([]float64, error) {
	batch := sdk.NewBatch(s.Info().Features)
	batch.Resize(rows)
	if err := invent(batch, rand.New(rand.NewPCG(1, uint64(rows)))); err != nil {
		return nil, err
	}
	out := make([]float64, rows)
	return out, s.Score(t.Context(), batch, out)
}

func sameBits(a, b []float64) bool {
	for i := range a {
		if math.Float64bits(a[i]) != math.Float64bits(b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

// TestRewrittenGraphsScoreTheSame checks that ONNX Runtime computes the same
// scores, to the bit, from a file and from the graph that we write from it.
func TestRewrittenGraphsScoreTheSame(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	var files []string
	for _, pattern := range [][]string{{"models", "*", "*", "model.onnx"}, {"bench", "models", "*", "*", "model.onnx"}, {"variants", "*.onnx"}} {
		found, err := filepath.Glob(testkit.Testdata(pattern...))
		if err != nil || len(found) == 0 {
			t.Fatal(pattern, err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "data-loop.onnx") {
			continue // it loops as often as its rows say
		}
		a, err := artifact(t, b, file, nil)
		if err != nil {
			a, err = artifact(t, b, file, func(m *manifest.Manifest) { m.Output.Name = "scores" })
		}
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		g, err := graph.Check(a.Bytes, graph.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		var all [2][]float64
		for i, data := range [][]byte{a.Bytes, g.Encode()} {
			s, err := b.Session(data, a)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for _, rows := range []int{1, 64} {
				out, err := scores(t, s, rows)
				if err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				all[i] = append(all[i], out...)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if !sameBits(all[0], all[1]) {
			t.Errorf("%s: scores differ", file)
		}
	}
}

// FuzzReading checks graphs that pass: ONNX Runtime must find the inputs and
// outputs that we found, and compute the same scores from the file and from our
// copy.
func FuzzReading(f *testing.F) {
	b := onnx.New(onnx.Config{Library: testkit.Library(), Probe: onnx.ProbeInProcess})
	if err := b.Err(); err != nil {
		f.Fatal(err)
	}
	for _, pattern := range []string{testkit.Testdata("variants", "*.onnx"), testkit.Testdata("suspicious", "*.onnx"), "testdata/hostile/*.onnx",
		testkit.Testdata("models", "mammography-gmm", "1.0.0", "model.onnx"), testkit.Testdata("models", "thyroid-autoencoder", "1.0.0", "model.onnx")} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal(pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			if len(data) < 8<<10 {
				f.Add(data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := graph.Check(data, graph.Limits{Rows: 8, Memory: 16 << 20})
		if err != nil {
			return
		}
		for op := range g.Operators {
			if strings.HasPrefix(op, "Random") || op == "Multinomial" || op == "Bernoulli" {
				return
			}
		}
		encoded := g.Encode()
		in, out, err := ort.GetInputOutputInfoWithONNXData(data)
		if err != nil {
			return
		}
		in2, out2, err := ort.GetInputOutputInfoWithONNXData(encoded)
		if err != nil {
			t.Fatalf("the file loads but our copy does not: %v", err)
		}
		if a, b := fmt.Sprint(in, out), fmt.Sprint(in2, out2); a != b {
			t.Fatalf("read as %s, written as %s", a, b)
		}
		sameValues(t, in, g.Inputs)
		sameValues(t, out, g.Outputs)
		compareScores(t, b, data, encoded)
	})
}

// sameValues compares names and, if known, types and sizes.
func sameValues(t *testing.T, theirs []ort.InputOutputInfo, ours []graph.Value) {
	t.Helper()
	if len(theirs) != len(ours) {
		t.Fatalf("%v is read as %v", theirs, ours)
	}
	for i, v := range ours {
		o := theirs[i]
		if o.Name != v.Name || (o.OrtValueType == ort.ONNXTypeTensor && v.Elem != 0 && int32(o.DataType) != int32(v.Elem)) {
			t.Fatalf("%v is read as %v", o, v)
		}
		for k, d := range v.Dims {
			if d >= 0 && (k >= len(o.Dimensions) || o.Dimensions[k] != d) {
				t.Fatalf("%v is read as %v", o, v)
			}
		}
	}
}

func compareScores(t *testing.T, b *onnx.Backend, data, encoded []byte) {
	t.Helper()
	m := manifest.Defaults()
	m.ID, m.Derived = "m", true
	m.Limits.MaxBatchRows, m.Limits.Memory = 8, 16<<20
	a := backends.Artifact{Manifest: m, Bytes: data}
	d, err := b.Inspect(t.Context(), a)
	if err != nil || len(d.Features) > 64 {
		return
	}
	m = m.With(d)
	a.Manifest = m
	a.ProbeRows = sdk.NewBatch(m.SDKFeatures())
	a.ProbeRows.Resize(1)
	var all [2][]float64
	for i, bytes := range [][]byte{data, encoded} {
		s, err := b.Session(bytes, a)
		if err != nil {
			return
		}
		out, err := scores(t, s, 3)
		if closed := s.Close(); closed != nil {
			t.Fatal(closed)
		}
		if err != nil {
			return
		}
		all[i] = out
	}
	if !sameBits(all[0], all[1]) {
		t.Fatalf("scores %v and %v", all[0], all[1])
	}
}
