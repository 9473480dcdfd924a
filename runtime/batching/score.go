package batching

import (
	"context"
	"errors"
	"math"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Score fills out with the scores of in. It calls the detector with at most chunk
// rows at a time; 0 means as many as its limits allow. It returns the failed rows in
// order, and sets their scores to NaN. faults is at how many of them the detector
// failed, as opposed to refusing the row. Sequential detectors must not be called.
func (s *Slots) Score(ctx context.Context, in *sdk.Batch, chunk int, out []float64) (failed []sdk.RowError, faults int, err error) {
	if most := s.d.Rows; chunk <= 0 || chunk > most {
		chunk = most
	}
	chunk = s.whole(chunk)
	if in.Rows() == 1 && s.merger != nil {
		score, bad, err := s.merger.score(ctx, in)
		if err != nil {
			return nil, 0, err
		}
		out[0] = score
		if bad != nil {
			failed = []sdk.RowError{*bad}
		}
		return failed, 0, nil
	}
	fillNaN(out) // still NaN means not scored
	f := faulty{owner: s.d.Owner}
	for from := 0; from < in.Rows(); from += chunk {
		if from > 0 {
			if err := HasLeft(ctx); err != nil {
				return nil, 0, err
			}
		}
		to := min(from+chunk, in.Rows())
		part := in
		if from > 0 || to < in.Rows() {
			part = in.Slice(from, to)
		}
		bad, err := s.scoreChunk(ctx, part, out[from:to], &f)
		if err != nil {
			return nil, 0, err
		}
		for _, e := range bad {
			e.Row += from
			failed = append(failed, e)
		}
	}
	if err := f.all(in.Rows()); err != nil {
		return nil, 0, err
	}
	return failed, f.rows, nil
}

// scoreChunk makes one call. If a stateless detector fails as a whole, the chunk is
// halved until the failing rows are found.
func (s *Slots) scoreChunk(ctx context.Context, in *sdk.Batch, out []float64, f *faulty) ([]sdk.RowError, error) {
	if f.inRow >= mostFaults {
		return f.add(in.Rows(), f.last), nil
	}
	s.sizes.count(in.Rows())
	err := s.Run(ctx, func(ctx context.Context) error { return s.scoreFilled(ctx, in, out) })
	var rowErrors *sdk.RowErrors
	switch {
	case err == nil:
		f.inRow = 0
		return nil, nil
	case errors.As(err, &rowErrors):
		f.inRow = 0
		return rowErrors.Rows, nil
	case IsHost(err):
		return nil, err
	case in.Rows() == 1 && isFault(err):
		return f.add(1, err), nil
	case in.Rows() == 1:
		return []sdk.RowError{{Reason: "the detector failed: " + err.Error()}}, nil
	case s.d.Sequential || s.d.Coupled:
		return nil, AsScoring(err)
	}
	return halve(in, out, func(in *sdk.Batch, out []float64) ([]sdk.RowError, error) { return s.scoreChunk(ctx, in, out, f) })
}

// callDirectly calls the detector in a slot that the caller holds. If it fails as a
// whole, the batch is halved until the failing rows are found.
func (s *Slots) callDirectly(ctx context.Context, in *sdk.Batch, out []float64) ([]sdk.RowError, error) {
	s.sizes.count(in.Rows())
	err := s.Guard(func() error { return s.scoreFilled(ctx, in, out) })
	var rowErrors *sdk.RowErrors
	switch {
	case err == nil:
		return nil, nil
	case errors.As(err, &rowErrors):
		return rowErrors.Rows, nil
	case ctx.Err() != nil, IsHost(err), isFault(err):
		return nil, err
	case in.Rows() == 1:
		return []sdk.RowError{{Reason: "the detector failed: " + err.Error()}}, nil
	}
	return halve(in, out, func(in *sdk.Batch, out []float64) ([]sdk.RowError, error) { return s.callDirectly(ctx, in, out) })
}

// halve calls a function for both halves of a batch.
func halve(in *sdk.Batch, out []float64, call func(*sdk.Batch, []float64) ([]sdk.RowError, error)) ([]sdk.RowError, error) {
	half := in.Rows() / 2
	var failed []sdk.RowError
	for _, r := range [][2]int{{0, half}, {half, in.Rows()}} {
		bad, err := call(in.Slice(r[0], r[1]), out[r[0]:r[1]])
		if err != nil {
			return nil, err
		}
		for _, e := range bad {
			e.Row += r[0]
			failed = append(failed, e)
		}
	}
	return failed, nil
}

// faulty collects the rows of one request at which the detector failed, as opposed
// to refusing them.
type faulty struct {
	owner Owner
	rows  int   // in total
	inRow int   // since the last scored row
	last  error // an ErrScoring
}

// mostFaults is after how many faults in a row the remaining rows of a request are
// not tried: a detector that has run out of a resource fails at every row.
const mostFaults = 16

// add counts rows that failed with an error, and returns their row errors.
func (f *faulty) add(rows int, err error) []sdk.RowError {
	f.rows += rows
	f.inRow += rows
	f.last = err
	reason := f.owner.Reason(err)
	failed := make([]sdk.RowError, rows)
	for i := range failed {
		failed[i] = sdk.RowError{Row: i, Reason: reason}
	}
	return failed
}

// all returns the error of a request of the given number of rows if the detector
// failed at each.
func (f *faulty) all(rows int) error {
	if rows > 0 && f.rows == rows {
		return f.last
	}
	return nil
}

func fillNaN(v []float64) {
	for i := range v {
		v[i] = math.NaN()
	}
}
