package batching_test

import (
	"context"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// gated is a detector whose calls wait.
type gated struct{ gate chan struct{} }

func (gated) Info() sdk.Info { return sdk.Info{} }
func (gated) Close() error   { return nil }

func (g gated) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	<-g.gate
	clear(out)
	return nil
}

func TestFigures(t *testing.T) {
	features := []sdk.Feature{{Name: "x", DType: sdk.Float64}}
	gate := make(chan struct{})
	s := batching.New(batching.NewCalls(1), batching.Detector{
		Scorer: gated{gate}, Features: features, Owner: plain{},
		Limits: batching.Limits{Timeout: time.Hour, Rows: 10000, Merged: 32, Queue: 1000},
	})
	score := func(rows int) <-chan error {
		in := sdk.NewBatch(features)
		in.Resize(rows)
		done := make(chan error, 1)
		go func() { _, _, err := s.Score(t.Context(), in, 0, make([]float64, rows)); done <- err }()
		return done
	}
	batch := score(3)
	testkit.Eventually(t, "the batch runs", func() bool { return s.Figures(time.Now()).Busy == 1 })
	single := score(1)
	testkit.Eventually(t, "the row waits", func() bool { return s.Waiting() == 1 })
	f := s.Figures(time.Now().Add(time.Minute))
	if f.Slots != 1 || f.Stuck != 0 || f.Waiting != 1 || f.Oldest < time.Minute {
		t.Errorf("meanwhile: %+v", f)
	}
	close(gate)
	for _, done := range []<-chan error{batch, single, score(3), score(10000)} {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	testkit.Eventually(t, "all calls have ended", func() bool { return s.Figures(time.Now()).Busy == 0 })
	f = s.Figures(time.Now())
	want := [len(batching.CallSizes) + 1]uint64{0: 1, 2: 2, 12: 1}
	if f.Calls != want || f.Rows != 10007 || f.Waiting != 0 || f.Oldest != 0 {
		t.Errorf("at the end: %+v", f)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestCallSizes checks that calls are counted under the smallest bound that is not
// below their rows.
func TestCallSizes(t *testing.T) {
	for rows := 1; rows <= 20000; rows++ {
		want := len(batching.CallSizes)
		for i, bound := range batching.CallSizes {
			if rows <= bound {
				want = i
				break
			}
		}
		if got := batching.Bin(rows); got != want {
			t.Fatalf("%d rows are counted at %d, want %d", rows, got, want)
		}
	}
}
