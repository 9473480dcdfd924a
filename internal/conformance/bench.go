package conformance

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/sdktest"
)

// Bench times opening the model at a place, and calls of each batch size for the
// duration lasting, on rows that the model can score. It writes a table to to.
func Bench(ctx context.Context, to io.Writer, at modelstore.Place, with model.Backends, lasting time.Duration) error {
	open, o, err := Model(ctx, at, with)
	if err != nil {
		return err
	}
	scorer, err := openTwice(ctx, to, open)
	if err != nil {
		return err
	}
	defer scorer.Close()
	w := tabwriter.NewWriter(to, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "rows/call\tµs/call\tµs/row\trows/s\t")
	for _, n := range []int{1, 10, 100, 1000, 10000} {
		if n > o.LargeRows {
			break
		}
		in := sdk.NewBatch(scorer.Info().Features)
		in.Resize(n)
		for i := range n {
			in.CopyRow(i, o.Rows, i%o.Rows.Rows())
		}
		out := make([]float64, n)
		calls, start := 0, time.Now()
		for calls < 3 || time.Since(start) < lasting {
			if err := scorer.Score(ctx, in, out); err != nil {
				return fmt.Errorf("scoring %d rows: %w", n, err)
			}
			calls++
		}
		each := time.Since(start).Seconds() / float64(calls)
		fmt.Fprintf(w, "%d\t%.1f\t%.3f\t%.0f\t\n", n, each*1e6, each*1e6/float64(n), float64(n)/each)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	if user, ok := scorer.(sdk.MemoryUser); ok {
		fmt.Fprintf(to, "memory of all instances: %.1f MiB\n", float64(user.MemoryBytes())/(1<<20))
	}
	return nil
}

// openTwice times the first opening of a plugin and another one.
func openTwice(ctx context.Context, to io.Writer, open sdktest.Open) (scorer sdk.Scorer, err error) {
	for _, what := range []string{"first opening", "next opening"} {
		if scorer != nil {
			if err := scorer.Close(); err != nil {
				return nil, err
			}
		}
		start := time.Now()
		if scorer, err = open(ctx); err != nil {
			return nil, err
		}
		fmt.Fprintf(to, "%s: %.1f ms\n", what, time.Since(start).Seconds()*1e3)
	}
	return scorer, nil
}
