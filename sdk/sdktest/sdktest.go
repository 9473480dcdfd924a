// Package sdktest is the conformance kit: it checks that a Scorer does what the
// host relies on. It knows no backends: the caller opens the Scorer.
package sdktest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Open opens a new instance of the detector under test.
type Open func(ctx context.Context) (sdk.Scorer, error)

// Options tell the kit about the detector. The zero value suits most detectors.
type Options struct {
	// Rows are rows that the detector can score, with the features of its Info.
	// If nil, the kit makes seeded normal numbers, words and booleans.
	Rows *sdk.Batch
	// Tolerance is the largest allowed difference between a row's scores alone
	// and in a batch, relative to the larger of 1 and the score. 0 means 1e-9.
	Tolerance float64
	// BatchDependent says that rows of a batch may influence each other's
	// scores.
	BatchDependent bool
	// Broken holds ways of opening the detector that must fail with a clear
	// error.
	Broken map[string]Open
	// Memory returns how many bytes all open Scorers hold. If nil, the kit asks
	// the Scorers that implement sdk.MemoryUser.
	Memory func() int64
	// Calls is the number of calls that the check for leaks makes; 0 means
	// 10,000.
	Calls int
	// LargeRows is the number of rows in a large batch; 0 means 10,000.
	LargeRows int
}

// Outcome is the result of one check.
type Outcome struct {
	Name    string
	Err     error  // nil if the check passed
	Skipped string // why the check does not apply to this detector
	Took    time.Duration
}

// Run runs every check as a subtest.
func Run(t *testing.T, open Open, o Options) {
	t.Helper()
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			out := c.do(t.Context(), open, o)
			if out.Skipped != "" {
				t.Logf("does not apply: %s", out.Skipped)
			}
			if out.Err != nil {
				t.Error(out.Err)
			}
		})
	}
}

// Report runs every check outside a test and calls tell after each one. It
// returns an error if any check failed.
func Report(ctx context.Context, open Open, o Options, tell func(Outcome)) error {
	failed := 0
	all := checks()
	for _, c := range all {
		out := c.do(ctx, open, o)
		tell(out)
		if out.Err != nil {
			failed++
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(all))
	}
	return nil
}

// check is one property that the host relies on.
type check struct {
	name string
	run  func(*kit) error
}

// skip is the error of a check that does not apply.
type skip string

func (s skip) Error() string { return string(s) }

// do runs a check. A panic of a native detector fails the check.
func (c check) do(ctx context.Context, open Open, o Options) (out Outcome) {
	start := time.Now()
	out.Name = c.name
	k := &kit{ctx: ctx, open: open, options: o}
	defer func() {
		if p := recover(); p != nil {
			out.Err = fmt.Errorf("it panicked: %v", p)
		}
		out.Took = time.Since(start)
		if err := k.closeAll(); err != nil && out.Err == nil {
			out.Err = err
		}
		var s skip
		if errors.As(out.Err, &s) {
			out.Err, out.Skipped = nil, string(s)
		}
	}()
	out.Err = c.run(k)
	return out
}

// kit is the environment of a check.
type kit struct {
	ctx     context.Context
	open    Open
	options Options
	opened  []sdk.Scorer
}

// fresh opens the detector and registers it to be closed after the check.
func (k *kit) fresh() (sdk.Scorer, error) {
	s, err := k.open(k.ctx)
	if err != nil {
		return nil, fmt.Errorf("opening the detector: %w", err)
	}
	k.opened = append(k.opened, s)
	return s, nil
}

// freshWith opens the detector and makes the given number of rows for it.
func (k *kit) freshWith(rows int) (sdk.Scorer, *sdk.Batch, error) {
	s, err := k.fresh()
	if err != nil {
		return nil, nil, err
	}
	in, err := k.rows(s.Info().Features, rows)
	return s, in, err
}

func (k *kit) closeAll() error {
	var errs []error
	for _, s := range k.opened {
		if err := s.Close(); err != nil {
			errs = append(errs, fmt.Errorf("closing the detector: %w", err))
		}
	}
	k.opened = nil
	return errors.Join(errs...)
}

// rows returns n rows: Options.Rows, repeated, or generated ones.
func (k *kit) rows(features []sdk.Feature, n int) (*sdk.Batch, error) {
	b := sdk.NewBatch(features)
	b.Resize(n)
	if given := k.options.Rows; given != nil && given.Rows() > 0 {
		for i := range n {
			b.CopyRow(i, given, i%given.Rows())
		}
		return b, nil
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		for j, f := range features {
			if err := b.SetValue(i, j, invented(f.DType, random)); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

func invented(d sdk.DType, random *rand.Rand) any {
	v := random.NormFloat64()
	switch d {
	case sdk.Float32:
		return float32(v)
	case sdk.Float64:
		return v
	case sdk.Int64:
		return int64(math.Round(10 * v))
	case sdk.Bool:
		return v > 0
	default:
		return string(rune('a' + random.IntN(3)))
	}
}

// score scores rows, some of which may fail, and checks that the detector
// writes only to its part of the slice.
func (k *kit) score(s sdk.Scorer, in *sdk.Batch) (scores []float64, failed *sdk.RowErrors, err error) {
	const canary = -12345.678
	n := in.Rows()
	room := make([]float64, n+1)
	for i := range room {
		room[i] = math.NaN()
	}
	room[n] = canary
	err = s.Score(k.ctx, in, room[:n:n])
	if room[n] != canary {
		return nil, nil, errors.New("it wrote past the end of the scores")
	}
	if errors.As(err, &failed) {
		err = checkRows(failed, n)
	} else if err != nil {
		err = fmt.Errorf("scoring %d rows: %w", n, err)
	}
	return room[:n], failed, err
}

// checkRows checks the order and the reasons of row errors.
func checkRows(failed *sdk.RowErrors, n int) error {
	last := -1
	for _, e := range failed.Rows {
		if e.Row <= last || e.Row >= n {
			return fmt.Errorf("row errors name row %d after row %d of %d", e.Row, last, n)
		}
		if err := readable(e.Reason); err != nil {
			return fmt.Errorf("the reason of row %d: %w", e.Row, err)
		}
		last = e.Row
	}
	return nil
}

// same compares scores bit for bit; NaN equals NaN.
func same(a, b []float64) error {
	for i := range a {
		if a[i] != b[i] && !(math.IsNaN(a[i]) && math.IsNaN(b[i])) {
			return fmt.Errorf("row %d scored %v and then %v", i, a[i], b[i])
		}
	}
	return nil
}

func (k *kit) agree(a, b float64) bool {
	tolerance := k.options.Tolerance
	if tolerance == 0 {
		tolerance = 1e-9
	}
	return a == b || (math.IsNaN(a) && math.IsNaN(b)) || math.Abs(a-b) <= tolerance*max(1, math.Abs(b))
}
