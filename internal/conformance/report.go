package conformance

import (
	"context"
	"fmt"
	"io"

	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/printable"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk/sdktest"
)

// Report runs the kit's checks on the model at a place, and writes a line about each
// to to. calls is the number of calls of the check for leaks; 0 means the kit's
// default.
func Report(ctx context.Context, to io.Writer, at modelstore.Place, with model.Backends, calls int) error {
	open, o, err := Model(ctx, at, with)
	if err != nil {
		return err
	}
	o.Calls = calls
	err = sdktest.Report(ctx, open, o, func(out sdktest.Outcome) {
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
