package logs_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/logs"
	"github.com/pynomaly/pynomaly-runtime/internal/trace"
)

// TestSample checks that one line of n is written, those of failed rows all the same,
// and that a line names its trace in either format.
func TestSample(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		base, err := logs.New(&out, new(slog.LevelVar), "info", format)
		if err != nil {
			t.Fatal(err)
		}
		p := logs.NewPredictions(&out, slog.LevelInfo, format, base)
		written := func() int {
			n := strings.Count(out.String(), "\n")
			out.Reset()
			return n
		}
		for _, c := range []struct{ every, want int }{{1, 100}, {10, 10}, {0, 100}, {1000000, 0}, {2, 50}} {
			p.Sample(c.every)
			for range 100 {
				p.Log(&logs.Prediction{ModelID: "m"})
			}
			if got := written(); got != c.want && got != c.want+1 { // one may remain from before
				t.Errorf("%s: one in %d: %d lines of 100", format, c.every, got)
			}
		}
		p.Sample(1000000)
		for range 5 {
			p.Log(&logs.Prediction{ModelID: "m", Rows: 10, Failed: 1})
		}
		if got := written(); got != 5 {
			t.Errorf("%s: %d of 5 lines with failed rows", format, got)
		}
		p.Sample(1)
		p.Log(&logs.Prediction{ModelID: "m", Span: trace.Parse([]byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"), nil)})
		if line := out.String(); !strings.Contains(line, "0af7651916cd43dd8448eb211c80319c") || !strings.Contains(line, "b7ad6b7169203331") {
			t.Errorf("%s: %s", format, line)
		}
	}
}
