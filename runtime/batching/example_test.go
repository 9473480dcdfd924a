package batching_test

import (
	"context"
	"fmt"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/guard"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// halves is a detector that panics at negative rows.
type halves struct{}

func (halves) Info() sdk.Info { return sdk.Info{} }
func (halves) Close() error   { return nil }

func (halves) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	for i, v := range in.Float64s() {
		if v < 0 {
			panic("negative")
		}
		out[i] = v / 2
	}
	return nil
}

// plain is an owner that adds no words.
type plain struct{}

func (plain) Unavailable(reason string, _ time.Duration) error {
	return fmt.Errorf("%w: %s", batching.ErrUnavailable, reason)
}
func (plain) Translate(err error) error  { return batching.AsScoring(err) }
func (plain) Panicked(*guard.PanicError) {}
func (plain) Reason(err error) string    { return err.Error() }

// If the detector panics at a row, the other rows of the batch are scored.
func ExampleSlots_Score() {
	features := []sdk.Feature{{Name: "x", DType: sdk.Float64}}
	calls := batching.NewCalls(2)
	s := batching.New(calls, batching.Detector{
		Scorer: halves{}, Features: features, Owner: plain{},
		Limits: batching.Limits{Timeout: time.Minute, Rows: 100, Merged: 32, Queue: 1000},
	})
	in := sdk.NewBatch(features)
	in.Resize(3)
	copy(in.Float64s(), []float64{2, -1, 6})
	out := make([]float64, 3)
	failed, _, err := s.Score(context.Background(), in, 0, out)
	fmt.Println(out, failed, err)
	if err := s.Close(); err != nil {
		panic(err)
	}
	// Output: [1 NaN 3] [{1  scoring failed: it panicked: negative}] <nil>
}
