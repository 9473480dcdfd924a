package sdktest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"unicode"
	"unicode/utf8"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

func leavesInput(k *kit) error {
	s, err := k.fresh()
	if err != nil {
		return err
	}
	features := s.Info().Features
	in, err := k.rows(features, someRows)
	if err != nil {
		return err
	}
	before := sdk.NewBatch(features)
	before.Resize(someRows)
	for i := range someRows {
		before.CopyRow(i, in, i)
	}
	if _, _, err := k.score(s, in); err != nil {
		return err
	}
	for i := range someRows {
		for j, f := range features {
			a, b := before.Value(i, j), in.Value(i, j)
			if bothNaN := isNaN(a) && isNaN(b); a != b && !bothNaN {
				return fmt.Errorf("row %d, feature %q was %v and is %v", i, f.Name, a, b)
			}
		}
	}
	return nil
}

func isNaN(v any) bool {
	switch x := v.(type) {
	case float32:
		return math.IsNaN(float64(x))
	case float64:
		return math.IsNaN(x)
	}
	return false
}

// cancelled calls Score with a cancelled context. The call may succeed, but if
// it fails, the error must be the context's. The next call must succeed.
func cancelled(k *kit) error {
	s, in, err := k.freshWith(someRows)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(k.ctx)
	cancel()
	err = s.Score(ctx, in, make([]float64, someRows))
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("a cancelled call ended with %w, which is not context.Canceled", err)
	}
	if s.Info().Stateful {
		return nil
	}
	_, _, err = k.score(s, in)
	if err != nil {
		return fmt.Errorf("after a cancelled call: %w", err)
	}
	return nil
}

func errorText(k *kit) error {
	if len(k.options.Broken) == 0 {
		return skip("Options.Broken is empty")
	}
	for name, open := range k.options.Broken {
		s, err := open(k.ctx)
		if err == nil {
			return errors.Join(fmt.Errorf("it opens although %s", name), s.Close())
		}
		if err := readable(err.Error()); err != nil {
			return fmt.Errorf("the error when %s: %w", name, err)
		}
	}
	return nil
}

// readable reports whether a text fits into a log line and a response.
func readable(text string) error {
	const most = 4000
	switch {
	case text == "":
		return errors.New("it is empty")
	case len(text) > most:
		return fmt.Errorf("it has %d bytes", len(text))
	case !utf8.ValidString(text):
		return errors.New("it is not UTF-8")
	}
	for _, r := range text {
		if !unicode.IsPrint(r) && r != '\n' {
			return fmt.Errorf("it has the character %U", r)
		}
	}
	return nil
}

func explains(k *kit) error {
	s, err := k.fresh()
	if err != nil {
		return err
	}
	e, ok := s.(sdk.Explainer)
	if !ok {
		return skip("it does not explain itself")
	}
	features := s.Info().Features
	in, err := k.rows(features, 8)
	if err != nil {
		return err
	}
	scores, _, err := k.score(s, in)
	if err != nil {
		return err
	}
	width := 1 + len(features)
	out := make([]float64, in.Rows()*width)
	for i := range out {
		out[i] = math.NaN() // still NaN afterwards: Explain did not write it
	}
	if err := e.Explain(k.ctx, in, out); errors.Is(err, errors.ErrUnsupported) {
		return skip("it does not explain itself")
	} else if err != nil {
		return fmt.Errorf("explaining %d rows: %w", in.Rows(), err)
	}
	for i, want := range scores {
		for j, v := range out[i*width : (i+1)*width] {
			if !math.IsNaN(want) && !math.IsInf(want, 0) && (math.IsNaN(v) || math.IsInf(v, 0)) {
				return fmt.Errorf("part %d of the explanation of row %d is %v", j, i, v)
			}
		}
	}
	return nil
}

// leaks makes many small calls and compares the memory after the first thousand
// with the memory at the end.
func leaks(k *kit) error {
	s, in, err := k.freshWith(3)
	if err != nil {
		return err
	}
	calls := k.options.Calls
	if calls == 0 {
		calls = 10_000
	}
	out := make([]float64, 3)
	many := func(n int) error {
		for i := range n {
			rows := in.Slice(0, 1+i%3)
			var failed *sdk.RowErrors
			if err := s.Score(k.ctx, rows, out[:rows.Rows()]); err != nil && !errors.As(err, &failed) {
				return fmt.Errorf("call %d: %w", i, err)
			}
		}
		return nil
	}
	if err := many(calls / 10); err != nil {
		return err
	}
	heap, own := heapBytes(), k.memory(s)
	goroutines := runtime.NumGoroutine()
	if err := many(calls - calls/10); err != nil {
		return err
	}
	const slack = 4 << 20
	if more := heapBytes() - heap; more > slack {
		return fmt.Errorf("%d calls left %d bytes on the host's heap", calls, more)
	}
	if more := k.memory(s) - own; more > slack {
		return fmt.Errorf("%d calls made the detector grow by %d bytes", calls, more)
	}
	if more := runtime.NumGoroutine() - goroutines; more > 10 {
		return fmt.Errorf("%d calls left %d goroutines", calls, more)
	}
	return nil
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func (k *kit) memory(s sdk.Scorer) int64 {
	if k.options.Memory != nil {
		return k.options.Memory()
	}
	if user, ok := s.(sdk.MemoryUser); ok {
		return user.MemoryBytes()
	}
	return 0
}
