package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
	"github.com/pynomaly/pynomaly-runtime/internal/printable"
)

// span is a moment of a rollout with its end.
type span struct {
	v1alpha1.Moment
	until    time.Time // of a rollout that goes on: now
	restarts int32     // that happened in it
	ended    bool      // it is the end of the rollout, and takes no time
}

// spans returns the moments of a rollout. The last one of a rollout that goes on
// lasts until now.
func spans(history []v1alpha1.Moment, now time.Time) []span {
	out := make([]span, len(history))
	for i := range history {
		s := span{Moment: history[i], until: history[i].At.Time, restarts: history[i].Restarts, ended: history[i].State == strategy.StateIdle}
		switch {
		case i+1 < len(history):
			s.until = history[i+1].At.Time
		case !s.ended && now.After(s.until):
			s.until = now
		}
		if s.until.Before(s.At.Time) { // the clock went back
			s.until = s.At.Time
		}
		if i > 0 {
			s.restarts -= history[i-1].Restarts
		}
		out[i] = s
	}
	return out
}

func (s *span) took() time.Duration { return s.until.Sub(s.At.Time) }

// does says in one word what the rollout did.
func (s *span) does() string {
	switch {
	case s.ended:
		return s.Phase
	case s.State == strategy.StateGating:
		return "holds"
	case s.State == strategy.StateBlocked:
		return "waits"
	}
	return strings.ToLower(s.State)
}

// counted says what was counted until the end of a moment, or "".
func counted(f *v1alpha1.StepFigures) string {
	if f == nil {
		return ""
	}
	text := fmt.Sprintf("%d rows so far, %d of %d requests failed", f.Rows, f.Errors, f.Requests)
	if f.P95Microseconds > 0 {
		text += fmt.Sprintf(", 95 %% within %s", time.Duration(f.P95Microseconds)*time.Microsecond)
	}
	return text
}

// why says what a moment waited for, and what was counted.
func (s *span) why() string {
	var parts []string
	if n := s.restarts; n > 0 {
		parts = append(parts, fmt.Sprintf("restarts: %d", n))
	}
	if s.State != strategy.StateGating && s.Message != "" {
		parts = append(parts, s.Message)
	}
	if text := counted(s.Figures); text != "" {
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

// barWidth is the length of a weight of 100 %.
const barWidth = 20

// bar shows the weight in force, and by dots how much more is planned.
func bar(weight, planned int32) string {
	at := func(n int32) int { return int(max(0, min(100, n))+2) * barWidth / 100 }
	real := min(barWidth, at(weight))
	return strings.Repeat("#", real) + strings.Repeat(".", max(0, min(barWidth, at(planned))-real))
}

// picture prints the course of a rollout, one moment a line.
func picture(out fmtWriter, history []v1alpha1.Moment, now time.Time) error {
	if len(history) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "\nTIME\tFOR\tSTEP\tWEIGHT\tSHARE\tROLLOUT\tWHY, AND WHAT WAS COUNTED")
	for _, s := range spans(history, now) {
		took := "-"
		if !s.ended {
			took = s.took().Round(time.Second).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d %%\t%s\t%s\t%s\n", s.At.UTC().Format("15:04:05"), took, s.Step+1, s.Weight, bar(s.Weight, s.Planned), s.does(), printable.Line(s.why()))
	}
	return w.Flush()
}
