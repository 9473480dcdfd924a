package batching

import (
	"context"
	"errors"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// MaxFill is the largest number in a Fill.
const MaxFill = 8

// Fill says how calls are filled up with repeated rows, so that a row's score does
// not depend on the number of rows in a call or on its position. Results for
// repeated rows are dropped. 0 means 1.
type Fill struct {
	// Rows divides the number of rows of every call.
	Rows int
	// Each is how often each row occurs in a call, so that every row begins at a
	// multiple of Each. It is for detectors whose scores depend on a row's position,
	// and multiplies the cost.
	Each int
}

// SetFill sets how calls are filled up, within Limits.Rows. Call it before the first
// request.
func (s *Slots) SetFill(f Fill) {
	if s.merger != nil { // its runners may still look for rows
		s.merger.mu.Lock()
		defer s.merger.mu.Unlock()
	}
	within := func(n int) int { return max(1, min(n, MaxFill, s.d.Rows)) }
	s.fill = Fill{Rows: within(f.Rows), Each: within(f.Each)}
	if s.fill.Each > 1 {
		s.fill.Rows = 1
	}
}

// Fill returns how calls are filled up.
func (s *Slots) Fill() Fill { return s.fill }

// filler holds the rows of a filled call.
type filler struct {
	batch *sdk.Batch
	out   []float64
}

// repeatedRows is how many rows of a request are repeated for one call.
const repeatedRows = 256

// filled rounds a number of rows up to a multiple of the fill.
func (s *Slots) filled(rows int) int { return (rows + s.fill.Rows - 1) / s.fill.Rows * s.fill.Rows }

// whole rounds a limit of rows down to a multiple of the fill. A smaller limit
// stays: the call is filled up.
func (s *Slots) whole(rows int) int {
	if rows > s.fill.Rows {
		rows -= rows % s.fill.Rows
	}
	return rows
}

// scoreFilled scores rows. It makes a separate call for the rows beyond a multiple
// of the fill, so that the other rows need not be copied.
func (s *Slots) scoreFilled(ctx context.Context, in *sdk.Batch, out []float64) error {
	n := in.Rows()
	if s.fill.Each == 1 && n%s.fill.Rows == 0 {
		return s.d.Scorer.Score(ctx, in, out) //nolint:wrapcheck // as the detector returns it
	}
	f, _ := s.fillers.Get().(*filler)
	if f == nil {
		f = &filler{batch: sdk.NewBatch(s.d.Features)}
	}
	defer s.fillers.Put(f)
	var failed []sdk.RowError
	for from := 0; from < n; {
		var bad *sdk.RowErrors
		rows, err := s.part(ctx, f, in, out, from)
		if errors.As(err, &bad) {
			failed = append(failed, bad.Rows...)
		} else if err != nil {
			return err
		}
		from += rows
	}
	if failed != nil {
		return &sdk.RowErrors{Rows: failed}
	}
	return nil
}

// part makes the call for the rows beginning at from, and returns for how many.
func (s *Slots) part(ctx context.Context, f *filler, in *sdk.Batch, out []float64, from int) (int, error) {
	left, each := in.Rows()-from, s.fill.Each
	rows, size := left, s.fill.Rows
	switch {
	case each > 1:
		rows = min(left, repeatedRows, max(1, s.d.Rows/each))
		size = rows * each
	case left >= s.fill.Rows:
		rows = left - left%s.fill.Rows
		err := s.d.Scorer.Score(ctx, in.Slice(from, from+rows), out[from:from+rows])
		return rows, placed(err, from, 1, rows)
	}
	f.batch.Resize(size)
	for i := range size {
		f.batch.CopyRow(i, in, from+min(i/each, rows-1))
	}
	if cap(f.out) < size {
		f.out = make([]float64, size)
	}
	f.out = f.out[:size]
	fillNaN(f.out)
	err := s.d.Scorer.Score(ctx, f.batch, f.out)
	for i := range rows {
		out[from+i] = f.out[i*each]
	}
	return rows, placed(err, from, each, rows)
}

// placed replaces the rows of a call's row errors with the caller's rows, and drops
// errors of repeated rows.
func placed(err error, from, each, rows int) error {
	var bad *sdk.RowErrors
	if !errors.As(err, &bad) {
		return err
	}
	moved := &sdk.RowErrors{}
	for _, e := range bad.Rows {
		if e.Row%each == 0 && e.Row/each < rows {
			e.Row = from + e.Row/each
			moved.Rows = append(moved.Rows, e)
		}
	}
	if len(moved.Rows) == 0 {
		return nil
	}
	return moved
}
