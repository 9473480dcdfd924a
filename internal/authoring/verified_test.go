package authoring

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/offline"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// written is a backend of detectors of one feature, whose score is what of says of the
// feature, of the rows of the call and of how many detectors were opened before.
type written struct {
	opened int
	of     func(x float64, rows, opened int) float64
}

func (*written) Inspect(context.Context, backends.Artifact) (manifest.Derived, error) {
	return manifest.Derived{Features: []manifest.Feature{{Feature: sdk.Feature{Name: "x", DType: sdk.Float64}}}}, nil
}

func (w *written) Open(context.Context, backends.Artifact) (sdk.Scorer, error) {
	w.opened++
	return &writtenScorer{of: w.of, opened: w.opened - 1}, nil
}

type writtenScorer struct {
	modeltest.Sums
	of     func(x float64, rows, opened int) float64
	opened int
}

func (s *writtenScorer) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	for i, x := range in.Float64s() {
		out[i] = s.of(x, len(out), s.opened)
	}
	return nil
}

// initBare writes a version of a file with a detector, and returns what is in the
// directory of models afterwards.
func initBare(t *testing.T, of func(x float64, rows, opened int) float64, values func(i int) float64) (*Initialised, []string, error) {
	t.Helper()
	dir := t.TempDir()
	file, train := filepath.Join(dir, "bare.onnx"), filepath.Join(dir, "train.csv")
	var text strings.Builder
	text.WriteString("x\n")
	for i := range 200 {
		fmt.Fprintln(&text, values(i))
	}
	for name, data := range map[string]string{file: "graph", train: text.String()} {
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	models := filepath.Join(dir, "deep", "models")
	a := Author{Store: modelstore.Store{Dir: models}, With: model.Backends{manifest.BackendONNX: &written{of: of}}}
	made, err := a.Init(t.Context(), file, InitOptions{Orientation: manifest.HigherIsAnomalous, Training: Training{File: train, Contamination: 0.1}})
	var left []string
	_ = filepath.WalkDir(filepath.Join(dir, "deep"), func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			left = append(left, path)
		}
		return nil
	})
	return made, left, err
}

// TestInitVerifies: what hosts would refuse is not written, and nothing is left of it.
func TestInitVerifies(t *testing.T) {
	line := func(i int) float64 { return float64(i) }
	for _, c := range []struct {
		name   string
		of     func(x float64, rows, opened int) float64
		values func(i int) float64
		want   string
	}{
		{"well", func(x float64, _, _ int) float64 { return x }, line, ""},
		{"scores of ten equal rows", func(x float64, _, _ int) float64 { return x }, func(int) float64 { return 5 }, ""},
		{"imprecise", func(x float64, rows, _ int) float64 {
			if rows == 1 {
				x += 30
			}
			return x
		}, line, "imprecise: float32 loses 30 of a score, where scores span"},
		{"other scores from the disk", func(x float64, _, opened int) float64 { return x + float64(opened) }, line, "golden row 0 scored"},
		{"scores beyond what calibration takes", func(x float64, _, _ int) float64 { return x }, func(i int) float64 { return math.Pow(10, float64(i)*1.54) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			made, left, err := initBare(t, c.of, c.values)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				for _, path := range left {
					if strings.HasPrefix(filepath.Base(path), ".") {
						t.Errorf("%s is left beside %s", path, made.Dir)
					}
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if len(left) > 0 {
				t.Errorf("%v is left", left)
			}
		})
	}
}

// TestTrainingScoresAreAnswers: thresholds and calibration come from the scores that the
// training rows are answered alone.
func TestTrainingScoresAreAnswers(t *testing.T) {
	a := Author{Store: modelstore.Store{Dir: t.TempDir()}, With: testkit.Backends(t, testkit.Proofs())}
	file := filepath.Join(t.TempDir(), "svm.onnx")
	testkit.CopyFile(t, testkit.Testdata("models", "thyroid-ocsvm", "1.0.0", "model.onnx"), file)
	train := testkit.Testdata("cases", "thyroid-ocsvm", "input.csv")
	made, err := a.Init(t.Context(), file, InitOptions{Orientation: manifest.HigherIsAnomalous, Training: Training{File: train, Contamination: 0.1}})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(made.Dir, trainScores))
	if err != nil {
		t.Fatal(err)
	}
	at, err := a.Store.Resolve("svm")
	if err != nil {
		t.Fatal(err)
	}
	m, err := at.Open(t.Context(), a.With, batching.NewCalls(1))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	rows, err := readTraining(train, m.Schema())
	if err != nil {
		t.Fatal(err)
	}
	alone := make([]float64, rows.Rows())
	for i := range alone {
		if bad, err := m.Predict(t.Context(), rows.Slice(i, i+1), 0, alone[i:i+1]); err != nil || bad != nil {
			t.Fatal(offline.Reason(bad[0]), err)
		}
	}
	slices.Sort(alone)
	for i, v := range alone {
		if got := math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:])); got != v {
			t.Fatalf("training score %d is %v, and alone %v", i, got, v)
		}
	}
}
