package process_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/trace"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// script returns a plugin in Python from testdata.
func script(t testing.TB, name, extra string, files map[string][]byte) backends.Artifact {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	m := decode(t, fmt.Sprintf("artifact: %s\ncommand: [%s, %s]\nlimits: {memory: 1GiB, load_timeout: 10m}\n%s", name, testkit.Python(t), name, extra))
	return backends.Artifact{Manifest: m, Bytes: data, Files: files, Dir: t.TempDir()}
}

func python(t testing.TB, a backends.Artifact, log *slog.Logger) (sdk.Scorer, error) {
	t.Helper()
	s, err := testkit.PythonProcesses(t, a.Dir, log).Open(t.Context(), a)
	if err == nil {
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return s, err
}

// TestPythonStrings scores a real data set with a string column beside numbers.
func TestPythonStrings(t *testing.T) {
	train, err := os.ReadFile(testkit.Testdata("cases", "breast-cancer-mixed", "input.csv"))
	if err != nil {
		t.Fatal(err)
	}
	header, _, _ := strings.Cut(string(train), "\n")
	var features strings.Builder
	for _, name := range strings.Split(strings.TrimSpace(header), ",") {
		dtype := "float64"
		if name == "radius_class" {
			dtype = "string"
		}
		fmt.Fprintf(&features, "  - {name: %s, dtype: %s}\n", name, dtype)
	}
	log, logs := logger()
	a := script(t, "mixed.py", fmt.Sprintf("config: {trees: 20}\nfiles: {train.csv: 'sha256:%x'}\nfeatures:\n%s", sha256.Sum256(train), features.String()), map[string][]byte{"train.csv": train})
	s, err := python(t, a, logs)
	if err != nil {
		t.Fatal(err)
	}
	in := sdk.NewBatch(s.Info().Features)
	in.Resize(3)
	for j, f := range s.Info().Features {
		for i := range 3 {
			var v any = 15.0
			switch {
			case f.DType == sdk.String:
				v = []string{"small", "größte", ""}[i]
			case i == 2:
				v = math.NaN()
			}
			if err := in.SetValue(i, j, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	out := make([]float64, 3)
	var failed *sdk.RowErrors
	err = s.Score(t.Context(), in, out)
	if !errors.As(err, &failed) || len(failed.Rows) != 1 || failed.Rows[0].Row != 2 || failed.Rows[0].Reason != "a number is missing" {
		t.Fatalf("%v, %v", out, err)
	}
	if !(out[0] > 0.3 && out[1] > 0.3) {
		t.Errorf("%v", out)
	}
	testkit.Eventually(t, "what it prints is logged", func() bool { return strings.Contains(log.String(), "loading {'trees': 20}") })
}

// TestPythonFaults checks that the errors of a Python detector reach the caller.
func TestPythonFaults(t *testing.T) {
	for fault, want := range map[string]string{"load": "RuntimeError: model.joblib was written by another version", "none": "load returned object, which has no score method"} {
		if _, err := python(t, script(t, "odd.py", xy+"config: {fault: "+fault+"}\n", nil), nil); !errors.Is(err, backends.ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for fault, want := range map[string]string{"raises": "ValueError: the matrix is singular", "invalid": "too few rows", "short": "1 numbers for 2 rows", "exits": "exit status 4"} {
		s, err := python(t, script(t, "odd.py", xy+"config: {fault: "+fault+"}\n", nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := score(t, s, 1, 2, 3, 4); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	s, err := python(t, script(t, "odd.py", xy+"config: {fault: slow}\n", nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Score(ctx, rows(s.Info().Features, 1, 2), make([]float64, 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if got, err := score(t, s, 1, 2); err != nil || got[0] != 3 {
		t.Errorf("after a call that came late: %v, %v", got, err)
	}
	out := make([]float64, 3)
	if err := s.(sdk.Explainer).Explain(t.Context(), rows(s.Info().Features, 1, 2), out); err != nil || out[0] != 0 || out[1] != 1 || out[2] != 2 {
		t.Errorf("%v, %v", out, err)
	}
}

// TestPythonState checks that a stateful Python detector learns, and that a new
// process loads the snapshot after the old one was killed.
func TestPythonState(t *testing.T) {
	s, err := python(t, script(t, "odd.py", xy+"config: {fault: stateful}\n", map[string][]byte{"stateful": nil}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.(sdk.Learner).Learn(t.Context(), rows(s.Info().Features, 1, 2, 3, 4)); err != nil {
		t.Fatal(err)
	}
	state, err := s.(sdk.Snapshotter).Save(t.Context())
	if err != nil || string(state) != "2" {
		t.Fatalf("%q, %v", state, err)
	}
	kill(t, 9)
	testkit.Eventually(t, "another process has the state", func() bool { got, err := score(t, s, 0, 0); return err == nil && got[0] == 2 })
}

// TestPythonTrace checks that a detector in Python sees the trace of its request, and none
// if there is none.
func TestPythonTrace(t *testing.T) {
	s, err := python(t, script(t, "odd.py", xy+"config: {fault: trace}\n", nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	in := sdk.NewBatch(s.Info().Features)
	in.Resize(1)
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	traced := trace.With(t.Context(), trace.Parse([]byte(parent), []byte("vendor=value")))
	for want, ctx := range map[string]context.Context{
		"trace []": t.Context(),
		"trace [('traceparent', '" + parent + "'), ('tracestate', 'vendor=value')]": traced,
	} {
		if err := s.Score(ctx, in, make([]float64, 1)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
