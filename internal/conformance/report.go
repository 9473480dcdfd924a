package conformance

import (
	"context"
	"fmt"
	"io"

	"github.com/pynomaly/pynomaly-runtime/internal/printable"
	"github.com/pynomaly/pynomaly-runtime/sdk/sdktest"
)

// Report runs the kit's checks, and writes a line about each to to.
func Report(ctx context.Context, to io.Writer, open sdktest.Open, o sdktest.Options) error {
	err := sdktest.Report(ctx, open, o, func(out sdktest.Outcome) {
		word, more := "ok  ", ""
		switch {
		case out.Err != nil:
			word, more = "FAIL", ": "+printable.Line(out.Err.Error())
		case out.Skipped != "":
			word, more = "-   ", ": "+out.Skipped
		}
		fmt.Fprintf(to, "%s  %s (%d ms)%s\n", word, out.Name, out.Took.Milliseconds(), more)
	})
	if err == nil {
		_, err = fmt.Fprintln(to, "the plugin conforms")
	}
	return err
}
