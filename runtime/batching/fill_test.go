package batching_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/pynomaly/pynomaly-runtime/internal/guard"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/sdk"

	"time"
)

// placed scores a row with its value, and fails if that is negative. It records its
// calls.
type placed struct {
	mu    sync.Mutex
	calls [][]float64
}

func (*placed) Info() sdk.Info { return sdk.Info{} }
func (*placed) Close() error   { return nil }
func (p *placed) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, append([]float64(nil), in.Float64s()...))
	var failed []sdk.RowError
	for i, v := range in.Float64s() {
		if v < 0 {
			failed = append(failed, sdk.RowError{Row: i, Reason: "negative"})
			continue
		}
		out[i] = 10 * v
	}
	if failed != nil {
		return &sdk.RowErrors{Rows: failed}
	}
	return nil
}

type plainOwner struct{}

func (plainOwner) Unavailable(string, time.Duration) error { return batching.ErrUnavailable }
func (plainOwner) Translate(err error) error               { return err }
func (plainOwner) Panicked(*guard.PanicError)              {}
func (plainOwner) Reason(err error) string                 { return err.Error() }

// TestFilledCalls checks that every call has a number of rows that the fill and the
// limits allow, and that every row gets its own result.
func TestFilledCalls(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 40).Draw(t, "rows of a call")
		fill := rapid.SampledFrom([]batching.Fill{{}, {Rows: 2}, {Rows: 4}, {Rows: 8, Each: 1}, {Each: 2}, {Each: 4}}).Draw(t, "fill")
		values := rapid.SliceOfN(rapid.IntRange(-3, 100), 1, 100).Draw(t, "values")
		chunk := rapid.IntRange(0, 50).Draw(t, "chunk")
		features := []sdk.Feature{{Name: "x", DType: sdk.Float64}}
		d := &placed{}
		s := batching.New(batching.NewCalls(1), batching.Detector{
			Scorer: d, Features: features, Owner: plainOwner{}, Limits: batching.Limits{Timeout: time.Hour, Rows: most, Merged: 16, Queue: 100},
		})
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		s.SetFill(fill)
		in := sdk.NewBatch(features)
		in.Resize(len(values))
		for i, v := range values {
			in.Float64s()[i] = float64(v)
		}
		out := make([]float64, len(values))
		failed, _, err := s.Score(context.Background(), in, chunk, out)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			if v < 0 {
				if len(failed) == 0 || failed[0].Row != i {
					t.Fatalf("row %d did not fail: %v", i, failed)
				}
				failed = failed[1:]
				continue
			}
			if out[i] != 10*float64(v) {
				t.Fatalf("row %d of %d scored %v", i, v, out[i])
			}
		}
		if len(failed) > 0 {
			t.Fatalf("%v failed, too", failed)
		}
		checkCalls(t, d.calls, s.Fill(), most)
	})
}

func checkCalls(t *rapid.T, calls [][]float64, fill batching.Fill, most int) {
	for _, c := range calls {
		if len(c) > most || len(c)%fill.Rows != 0 || len(c)%fill.Each != 0 {
			t.Fatalf("a call has %d rows: at most %d, filled %+v", len(c), most, fill)
		}
		for i, v := range c {
			if v != c[i-i%fill.Each] {
				t.Fatalf("a row does not stand %d times: %v", fill.Each, c)
			}
		}
	}
}

// TestFilledMergedCalls checks that rows of different requests share filled calls,
// and that results for repeated rows are dropped.
func TestFilledMergedCalls(t *testing.T) {
	for _, fill := range []batching.Fill{{Rows: 4}, {Each: 2}} {
		features := []sdk.Feature{{Name: "x", DType: sdk.Float64}}
		d := &placed{}
		s := batching.New(batching.NewCalls(1), batching.Detector{
			Scorer: d, Features: features, Owner: plainOwner{}, Limits: batching.Limits{Timeout: time.Hour, Rows: 6, Merged: 16, Queue: 1000},
		})
		s.SetFill(fill)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				row := sdk.NewBatch(features)
				row.Resize(1)
				row.Float64s()[0] = float64(i - 3)
				out := []float64{math.NaN()}
				failed, _, err := s.Score(t.Context(), row, 0, out)
				var bad *sdk.RowErrors
				if err != nil || errors.As(err, &bad) || (len(failed) == 1) != (i < 3) || (i >= 3 && out[0] != 10*float64(i-3)) {
					t.Errorf("%+v: row %d scored %v, failed %v, %v", fill, i, out, failed, err)
				}
			})
		}
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for _, c := range d.calls {
			if len(c) > 6 || len(c)%s.Fill().Rows != 0 || len(c)%s.Fill().Each != 0 {
				t.Errorf("%+v: a call has %d rows", fill, len(c))
			}
		}
	}
}
