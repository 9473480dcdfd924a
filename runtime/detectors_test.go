package runtime_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// sums is a detector of one feature whose score is the feature.
type sums struct {
	delay chan struct{} // Score waits for it, if it is set and armed
	armed func() bool
}

func (sums) Info() sdk.Info { return sdk.Info{} }

func (sums) Close() error { return nil }

func (s sums) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	if s.armed != nil && s.armed() {
		<-s.delay
	}
	copy(out, in.Float64s())
	return nil
}

// gated is a detector whose calls wait at a gate, once it is shut. Rows with
// special values make trouble.
type gated struct {
	sums
	mu    sync.Mutex
	gate  chan struct{} // nil: open
	sizes []int         // of the calls since it was shut
}

const (
	failsWhole = -1 // the call fails
	takesLong  = -2 // the call ends at its deadline
	noScore    = -3 // the row's score is NaN
	hangs      = -4 // the call ignores its deadline
	endsIt     = -5 // the detector's processes end
)

func (g *gated) shut() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	gate := make(chan struct{})
	g.gate, g.sizes = gate, nil
	return func() {
		g.mu.Lock()
		g.gate = nil
		g.mu.Unlock()
		close(gate)
	}
}

func (g *gated) calls() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]int(nil), g.sizes...)
}

func (g *gated) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	g.mu.Lock()
	gate := g.gate
	g.sizes = append(g.sizes, in.Rows())
	g.mu.Unlock()
	if gate != nil {
		<-gate
	}
	var failed []sdk.RowError
	for i, v := range in.Float64s() {
		switch v {
		case failsWhole:
			return errors.New("unknown category")
		case takesLong:
			<-ctx.Done()
			return ctx.Err()
		case hangs:
			<-ctx.Done()
			time.Sleep(200 * time.Millisecond)
		case endsIt:
			return &backends.DownError{Reason: "two processes ended", RetryAfter: time.Second, Suspect: true}
		case noScore:
			out[i] = math.NaN()
			continue
		}
		out[i] = 2 * v
		if v == 13 {
			failed = append(failed, sdk.RowError{Row: i, Reason: "unlucky"})
		}
	}
	if failed != nil {
		return &sdk.RowErrors{Rows: failed}
	}
	return nil
}

func openGated(t *testing.T, extra string, workers int) (*runtime.Model, *gated, *batching.Calls) {
	t.Helper()
	g := &gated{}
	calls := batching.NewCalls(workers)
	m := openFake(t, simple("gated", "1.0.0")+extra, calls, func(*manifest.Manifest) sdk.Scorer { return g })
	return m, g, calls
}

type result struct {
	score  float64
	failed []sdk.RowError
	err    error
}

// submit scores values, one request each, at the same time.
func submit(t *testing.T, m *runtime.Model, values ...float64) (wait func() []result) {
	t.Helper()
	out := make([]result, len(values))
	var wg sync.WaitGroup
	for i, v := range values {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			score := make([]float64, 1)
			failed, err := m.Predict(ctx, batch(v), 0, score)
			out[i] = result{score[0], failed, err}
		})
	}
	return func() []result { wg.Wait(); return out }
}

// counter is a stateful detector: the score of a row is how many rows it has
// learned. A row of -1 makes it fail.
type counter struct{ rows uint64 }

func (*counter) Info() sdk.Info { return sdk.Info{Stateful: true} }

func (*counter) Close() error { return nil }

func (c *counter) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	for i, v := range in.Float64s() {
		if v == -1 {
			return errors.New("torn")
		}
		out[i] = float64(c.rows)
	}
	return nil
}

func (c *counter) Learn(_ context.Context, in *sdk.Batch) error {
	c.rows += uint64(in.Rows())
	return nil
}

func (c *counter) Save(context.Context) ([]byte, error) {
	return binary.LittleEndian.AppendUint64(nil, c.rows), nil
}

func (c *counter) Load(_ context.Context, state []byte) error {
	if len(state) != 8 {
		return errors.New("8 bytes are wanted")
	}
	c.rows = binary.LittleEndian.Uint64(state)
	return nil
}

func newCounter(*manifest.Manifest) sdk.Scorer { return &counter{} }

const online = "stateful: true\nlearning: online\n"

// picky fails whole calls that contain a row above its limit.
type picky struct {
	sums
	limit float64
}

func (p picky) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	for _, v := range in.Float64s() {
		if v > p.limit {
			return errors.New("unknown category")
		}
	}
	return p.sums.Score(ctx, in, out)
}
