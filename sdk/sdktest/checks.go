package sdktest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

func checks() []check {
	return []check{
		{"describes itself", describes},
		{everyRowName, everyRow},
		{"repeats itself", repeats},
		{"a row alone scores as in a batch", aloneAndTogether},
		{"takes an empty batch", empty},
		{"survives missing and infinite values", oddValues},
		{"takes large batches", large},
		{"takes concurrent calls", concurrent},
		{"opens again as it was", again},
		{"leaves its input alone", leavesInput},
		{"bears a cancelled call", cancelled},
		{"says what is wrong", errorText},
		{"explains its scores", explains},
		{"keeps its state", state},
		{"leaks nothing", leaks},
	}
}

const someRows = 64

func describes(k *kit) error {
	s, err := k.fresh()
	if err != nil {
		return err
	}
	info := s.Info()
	switch {
	case len(info.Features) == 0:
		return errors.New("it has no features")
	case info.Concurrency < 0:
		return fmt.Errorf("its Concurrency is %d", info.Concurrency)
	case info.Stateful && info.Concurrency != 1:
		return fmt.Errorf("it is stateful and its Concurrency is %d, not 1", info.Concurrency)
	}
	names := map[string]bool{}
	for i, f := range info.Features {
		if f.Name == "" || names[f.Name] {
			return fmt.Errorf("feature %d has the name %q, which is empty or taken", i, f.Name)
		}
		names[f.Name] = true
		if _, err := sdk.ParseDType(f.DType.String()); err != nil {
			return fmt.Errorf("feature %q: %w", f.Name, err)
		}
	}
	return nil
}

func repeats(k *kit) error {
	s, in, err := k.freshWith(someRows)
	if err != nil {
		return err
	}
	first, failed, err := k.score(s, in)
	if err != nil {
		return err
	}
	if failed != nil && k.options.Rows != nil {
		return fmt.Errorf("it cannot score the given rows: %w", failed)
	}
	if s.Info().Stateful { // a second detector with the same history must give the same scores
		if s, err = k.fresh(); err != nil {
			return err
		}
	}
	second, _, err := k.score(s, in)
	if err != nil {
		return err
	}
	if err := same(first, second); err != nil {
		return err
	}
	return scoresSomething(first, k.options.Rows != nil)
}

const everyRowName = "gives each row one score"

// EveryRow runs only the check that the detector gives each row of a batch one finite
// score. A host serves a detector that fails it one row at a time, or not at all.
func EveryRow(ctx context.Context, open Open, o Options) error {
	return check{everyRowName, everyRow}.do(ctx, open, o).Err
}

// everyRow scores batches of several sizes. A row whose values are finite must get a
// finite score, or the detector must say that it cannot score the row.
func everyRow(k *kit) error {
	s, err := k.fresh()
	if err != nil {
		return err
	}
	for _, n := range []int{1, 2, 7, someRows} {
		in, err := k.rows(s.Info().Features, n)
		if err != nil {
			return err
		}
		scores, failed, err := k.score(s, in)
		if err != nil {
			return err
		}
		lost, first := 0, -1
		for i, v := range scores {
			named := failed != nil && slices.ContainsFunc(failed.Rows, func(e sdk.RowError) bool { return e.Row == i })
			if finite(v) || named || !finiteRow(in, i) {
				continue
			}
			if lost++; first < 0 {
				first = i
			}
		}
		if lost > 0 {
			return fmt.Errorf("%d of %d rows with finite values have no finite score: row %d scored %v. A detector writes one finite score for each row of a batch, or says which rows it cannot score; if it cannot score these, provide rows that it can (Options.Rows, golden rows)", lost, n, first, scores[first])
		}
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// finiteRow reports whether a row has neither missing nor infinite numbers.
func finiteRow(in *sdk.Batch, row int) bool {
	for j := range in.Features() {
		switch v := in.Value(row, j).(type) {
		case float32:
			if !finite(float64(v)) {
				return false
			}
		case float64:
			if !finite(v) {
				return false
			}
		}
	}
	return true
}

// scoresSomething fails a detector that wrote no finite score: such a detector
// repeats itself whatever it does.
func scoresSomething(scores []float64, given bool) error {
	found := 0
	for i, v := range scores {
		switch {
		case finite(v):
			found++
		case given:
			return fmt.Errorf("given row %d scored %v", i, v)
		}
	}
	if found == 0 {
		return fmt.Errorf("none of %d rows has a finite score: provide rows that the detector can score (Options.Rows, golden rows)", len(scores))
	}
	return nil
}

func aloneAndTogether(k *kit) error {
	if k.options.BatchDependent {
		return skip("the rows of a batch may influence each other")
	}
	s, in, err := k.freshWith(someRows)
	if err != nil {
		return err
	}
	together, _, err := k.score(s, in)
	if err != nil {
		return err
	}
	if s.Info().Stateful {
		if s, err = k.fresh(); err != nil {
			return err
		}
	}
	for _, size := range []int{1, 7} {
		for from := 0; from < someRows; from += size {
			to := min(from+size, someRows)
			part, _, err := k.score(s, in.Slice(from, to))
			if err != nil {
				return err
			}
			for i, v := range part {
				if !k.agree(v, together[from+i]) {
					return fmt.Errorf("row %d scored %v among %d rows, %v among %d", from+i, v, size, together[from+i], someRows)
				}
			}
		}
		if s.Info().Stateful {
			return nil // the detector's state differs in a second round
		}
	}
	return nil
}

func empty(k *kit) error {
	s, in, err := k.freshWith(0)
	if err != nil {
		return err
	}
	_, _, err = k.score(s, in)
	return err
}

// oddValues puts NaN and infinities into every feature that can hold them. Such
// a row may fail, but the other rows and the detector must not.
func oddValues(k *kit) error {
	s, err := k.fresh()
	if err != nil {
		return err
	}
	features := s.Info().Features
	good, err := k.rows(features, 2)
	if err != nil {
		return err
	}
	want, _, err := k.score(s, good)
	if err != nil {
		return err
	}
	for j, f := range features[:min(len(features), 200)] {
		if f.DType != sdk.Float32 && f.DType != sdk.Float64 {
			continue
		}
		for _, odd := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, 5e-324} {
			in := sdk.NewBatch(features)
			in.Resize(3)
			in.CopyRow(0, good, 0)
			in.CopyRow(1, good, 0)
			in.CopyRow(2, good, 1)
			var v any = odd
			if f.DType == sdk.Float32 {
				v = float32(odd)
			}
			if err := in.SetValue(1, j, v); err != nil {
				return err
			}
			got, failed, err := k.score(s, in)
			if err != nil {
				return fmt.Errorf("with %v in feature %q: %w", odd, f.Name, err)
			}
			if failed != nil && slices.ContainsFunc(failed.Rows, func(e sdk.RowError) bool { return e.Row != 1 }) {
				return fmt.Errorf("%v in feature %q of row 1 made others fail: %w", odd, f.Name, failed)
			}
			if !k.options.BatchDependent && !s.Info().Stateful && (!k.agree(got[0], want[0]) || !k.agree(got[2], want[1])) {
				return fmt.Errorf("%v in feature %q of row 1 changed the scores of other rows from %v to %v", odd, f.Name, want, []float64{got[0], got[2]})
			}
		}
	}
	return nil
}

func large(k *kit) error {
	s, err := k.fresh()
	if err != nil {
		return err
	}
	n := k.options.LargeRows
	if n == 0 {
		n = 10_000
	}
	in, err := k.rows(s.Info().Features, n)
	if err != nil {
		return err
	}
	all, _, err := k.score(s, in)
	if err != nil {
		return err
	}
	if k.options.BatchDependent || s.Info().Stateful {
		return nil
	}
	for _, i := range []int{0, n / 2, n - 1} {
		alone, _, err := k.score(s, in.Slice(i, i+1))
		if err != nil {
			return err
		}
		if !k.agree(alone[0], all[i]) {
			return fmt.Errorf("row %d scored %v alone, %v among %d", i, alone[0], all[i], n)
		}
	}
	return nil
}

// concurrent makes as many calls at once as Info allows, each with other rows.
func concurrent(k *kit) error {
	s, err := k.fresh()
	if err != nil {
		return err
	}
	info := s.Info()
	const most = 8
	callers := most
	if info.Concurrency > 0 {
		callers = min(most, info.Concurrency)
	}
	if callers == 1 {
		return skip("it takes one call at a time")
	}
	in, err := k.rows(info.Features, callers*someRows)
	if err != nil {
		return err
	}
	want := make([][]float64, callers)
	for c := range callers {
		if want[c], _, err = k.score(s, in.Slice(c*someRows, (c+1)*someRows)); err != nil {
			return err
		}
	}
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for range 20 {
				got, _, err := k.score(s, in.Slice(c*someRows, (c+1)*someRows))
				if err == nil {
					err = same(want[c], got)
				}
				if err != nil {
					errs[c] = fmt.Errorf("with %d calls at once: %w", callers, err)
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// again opens the detector twice at the same time, and a third time after
// closing it. All three must give the same scores.
func again(k *kit) error {
	var want []float64
	for round := range 3 {
		s, in, err := k.freshWith(someRows)
		if err != nil {
			return err
		}
		got, _, err := k.score(s, in)
		if err != nil {
			return err
		}
		if round == 0 {
			want = got
		}
		if err := same(want, got); err != nil {
			return fmt.Errorf("opened %d times: %w", round+1, err)
		}
		if round == 1 {
			if err := k.closeAll(); err != nil {
				return err
			}
		}
	}
	return nil
}
