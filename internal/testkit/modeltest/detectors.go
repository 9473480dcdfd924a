package modeltest

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
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Sums is a detector of one feature whose score is the feature.
type Sums struct {
	Delay chan struct{} // if not nil, Score waits for it
	Armed func() bool
}

// Info returns no features.
func (Sums) Info() sdk.Info { return sdk.Info{} }

// Close does nothing.
func (Sums) Close() error { return nil }

// Score copies the feature.
func (s Sums) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	if s.Armed != nil && s.Armed() {
		<-s.Delay
	}
	copy(out, in.Float64s())
	return nil
}

// Gated is a detector whose calls wait while its gate is shut. Some values of rows
// trigger failures.
type Gated struct {
	Sums
	mu    sync.Mutex
	gate  chan struct{} // nil: open
	sizes []int         // sizes of the calls since the gate was shut
}

// Values of rows that trigger failures of Gated.
const (
	FailsWhole = -1 // the call fails
	TakesLong  = -2 // the call ends at its deadline
	NoScore    = -3 // the row's score is NaN
	Hangs      = -4 // the call ignores its deadline
	EndsIt     = -5 // the detector's processes end
)

// Shut shuts the gate until open is called.
func (g *Gated) Shut() (open func()) {
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

// Calls returns the sizes of the calls since the gate was shut.
func (g *Gated) Calls() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]int(nil), g.sizes...)
}

// Score returns twice the feature.
func (g *Gated) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
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
		case FailsWhole:
			return errors.New("unknown category")
		case TakesLong:
			<-ctx.Done()
			return ctx.Err()
		case Hangs:
			<-ctx.Done()
			time.Sleep(200 * time.Millisecond)
		case EndsIt:
			return &backends.DownError{Reason: "two processes ended", RetryAfter: time.Second, Suspect: true}
		case NoScore:
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

// OpenGated opens a model whose detector is a Gated.
func OpenGated(t *testing.T, extra string, workers int) (*model.Model, *Gated, *batching.Calls) {
	t.Helper()
	g := &Gated{}
	calls := batching.NewCalls(workers)
	m := OpenFake(t, Simple("gated", "1.0.0")+extra, calls, func(*manifest.Manifest) sdk.Scorer { return g })
	return m, g, calls
}

// OpenBounded is OpenGated with a detector that claims to be an sdk.Bounded.
func OpenBounded(t *testing.T, extra string, workers int) (*model.Model, *Gated, *batching.Calls) {
	t.Helper()
	g := &Gated{}
	calls := batching.NewCalls(workers)
	m := OpenFake(t, Simple("gated", "1.0.0")+extra, calls, func(*manifest.Manifest) sdk.Scorer { return bounded{g} })
	return m, g, calls
}

type bounded struct{ *Gated }

func (bounded) Bounded() bool { return true }

// OpenSeparate is OpenBounded with a detector that claims to be a backends.RowByRow.
func OpenSeparate(t *testing.T, extra string, workers int) (*model.Model, *Gated, *batching.Calls) {
	t.Helper()
	g := &Gated{}
	calls := batching.NewCalls(workers)
	m := OpenFake(t, Simple("gated", "1.0.0")+extra, calls, func(*manifest.Manifest) sdk.Scorer { return separate{bounded{g}} })
	return m, g, calls
}

type separate struct{ bounded }

func (separate) RowByRow() bool { return true }

// Result is the outcome of a request.
type Result struct {
	Score  float64
	Failed []sdk.RowError
	Err    error
}

// Submit scores values concurrently, one request each.
func Submit(t *testing.T, m *model.Model, values ...float64) (wait func() []Result) {
	t.Helper()
	out := make([]Result, len(values))
	var wg sync.WaitGroup
	for i, v := range values {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			score := make([]float64, 1)
			failed, err := m.Predict(ctx, Batch(v), 0, score)
			out[i] = Result{score[0], failed, err}
		})
	}
	return func() []Result { wg.Wait(); return out }
}

// Counter is a stateful detector. A row's score is how many rows it has learned. A
// row of -1 fails.
type Counter struct{ Rows uint64 }

// Info says that the detector is stateful.
func (*Counter) Info() sdk.Info { return sdk.Info{Stateful: true} }

// Close does nothing.
func (*Counter) Close() error { return nil }

// Score returns how many rows the detector has learned.
func (c *Counter) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	for i, v := range in.Float64s() {
		if v == -1 {
			return errors.New("torn")
		}
		out[i] = float64(c.Rows)
	}
	return nil
}

// Learn counts rows.
func (c *Counter) Learn(_ context.Context, in *sdk.Batch) error {
	c.Rows += uint64(in.Rows())
	return nil
}

// Save returns the count.
func (c *Counter) Save(context.Context) ([]byte, error) {
	return binary.LittleEndian.AppendUint64(nil, c.Rows), nil
}

// Load restores a count.
func (c *Counter) Load(_ context.Context, state []byte) error {
	if len(state) != 8 {
		return errors.New("a state has 8 bytes")
	}
	c.Rows = binary.LittleEndian.Uint64(state)
	return nil
}

// NewCounter returns a Counter that has learned nothing.
func NewCounter(*manifest.Manifest) sdk.Scorer { return &Counter{} }

// Online is the manifest text of a detector that learns each row.
const Online = "stateful: true\nlearning: online\n"

// Picky fails calls with a row above its limit.
type Picky struct {
	Sums
	Limit float64
}

// Score fails or returns the feature.
func (p Picky) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	for _, v := range in.Float64s() {
		if v > p.Limit {
			return errors.New("unknown category")
		}
	}
	return p.Sums.Score(ctx, in, out)
}
