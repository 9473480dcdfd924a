package wasm_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/wasm"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hostile"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// TestStatefulPlugin checks that the only instance learns. After a trap the next one
// must start from the last snapshot, or start empty and log that.
func TestStatefulPlugin(t *testing.T) {
	var log bytes.Buffer
	b := wasm.New(wasm.Config{CacheDir: testkit.WASMCache(), Instances: 4, Compiler: testkit.Compiler(t), Log: slog.New(slog.NewTextHandler(&log, nil))})
	defer b.Close()
	module := testkit.Guest(t, "counter")
	m := model(t, "features: [{name: x, dtype: float64}]\nlearning: online\nstateful: true\n")
	s, err := open(t, b, m, module, nil)
	if err != nil {
		t.Fatal(err)
	}
	if info := s.Info(); !info.Stateful || info.Concurrency != 1 {
		t.Errorf("%+v", info)
	}
	learner, saver := s.(sdk.Learner), s.(sdk.Snapshotter)
	out := make([]float64, 1)
	score := func(want float64) {
		t.Helper()
		if err := s.Score(t.Context(), rows(t, m, []float64{1}), out); err != nil || out[0] != want {
			t.Fatalf("%v, %v, want %v", out[0], err, want)
		}
	}
	learn := func(n int) {
		t.Helper()
		if err := learner.Learn(t.Context(), rows(t, m, make([][]float64, n)...)); err != nil {
			t.Fatal(err)
		}
	}
	trap := func() {
		t.Helper()
		if err := s.Score(t.Context(), rows(t, m, []float64{-1}), out); err == nil {
			t.Fatal("the call did not trap")
		}
	}
	if _, err := saver.Save(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an empty state: %v", err)
	}
	grow := rows(t, m)
	grow.Resize(5)
	if err := learner.Learn(t.Context(), grow); err != nil {
		t.Fatal(err)
	}
	score(5)
	trap()
	score(0)
	if !strings.Contains(log.String(), "starts empty") {
		t.Errorf("log: %s", log.String())
	}
	learn(0)
	grow.Resize(7)
	if err := learner.Learn(t.Context(), grow); err != nil {
		t.Fatal(err)
	}
	state, err := saver.Save(t.Context())
	if err != nil || len(state) != 8 {
		t.Fatalf("%v, %v", state, err)
	}
	trap()
	score(7)
	state[0] = 100
	if err := saver.Load(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	score(100)
	if err := saver.Load(t.Context(), []byte("short")); err == nil || !strings.Contains(err.Error(), "a state has 8 bytes") {
		t.Errorf("%v", err)
	}
	score(100)
}

func TestOnlineNeedsLearn(t *testing.T) {
	b := testkit.WASM(t)
	m := model(t, xy+"stateful: true\nlearning: online\n")
	if _, err := open(t, b, m, hostile.Plain(), nil); err == nil || !strings.Contains(err.Error(), "needs a module that exports pynomaly_learn") {
		t.Errorf("%v", err)
	}
}
