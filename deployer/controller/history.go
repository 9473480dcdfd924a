package controller

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// mostMoments bounds the history that a status holds.
const mostMoments = 40

// keepHistory adds what has changed to the history of a rollout, and ends it with the
// rollout. Of the moment that goes on it keeps the newest figures and message.
func keepHistory(before, s *v1alpha1.ModelDeploymentStatus, seen *sight, now time.Time) {
	ro := &s.Rollout
	n := len(ro.History)
	if n > 0 && ro.History[n-1].State == strategy.StateIdle {
		return // it has ended
	}
	if n == 0 && s.Update == s.Stable && before.Stable == s.Stable {
		return // there is no rollout, or one of an earlier version has ended
	}
	m := v1alpha1.Moment{
		At: metav1.NewTime(now), Step: ro.Step, State: ro.State, Phase: s.Phase, Planned: ro.Weight, Message: fmt.Sprintf("%.300s", s.Message), Figures: seen.figures,
	}
	if w := &seen.world; w.Acked {
		m.Weight = w.Weights[s.Update]
	} else if n > 0 {
		m.Weight = ro.History[n-1].Weight
	}
	if ro.Crashes != nil {
		m.Restarts = ro.Crashes.Total
	} else if n > 0 {
		m.Restarts = ro.History[n-1].Restarts
	}
	if n > 0 {
		last := &ro.History[n-1]
		if ro.State == strategy.StateIdle {
			m.Step = last.Step // of the end
		}
		goesOn := last.Step == m.Step && last.State == m.State && last.Phase == m.Phase && last.Planned == m.Planned && last.Weight == m.Weight && last.Restarts == m.Restarts
		// Figures change with each request, and each write causes another evaluation.
		if timed := !before.Rollout.Seen.Equal(ro.Seen); seen.figures != nil && (timed || !goesOn) {
			last.Figures = seen.figures
		}
		if goesOn {
			last.Message = m.Message
			return
		}
		m.Figures = nil // those are of the moment that ends
	}
	ro.History = append(ro.History, m)
	if len(ro.History) > mostMoments {
		ro.History = thin(ro.History)
	}
}

// thin removes one moment: the first one whose step is that of the moment before, so
// that each step remains.
func thin(all []v1alpha1.Moment) []v1alpha1.Moment {
	at := 1
	for i := 1; i < len(all)-1; i++ {
		if all[i].Step == all[i-1].Step && all[i].Weight == all[i-1].Weight {
			at = i
			break
		}
	}
	if all[at].Figures != nil {
		all[at-1].Figures = all[at].Figures
	}
	return append(all[:at:at], all[at+1:]...)
}

// superseded returns the history of a rollout that another one has replaced, and its
// revision. One that was given up keeps its end.
func superseded(before, s *v1alpha1.ModelDeploymentStatus, now time.Time) (string, []v1alpha1.Moment) {
	n := len(before.Rollout.History)
	if before.Update == s.Update || n == 0 || before.Rollout.History[n-1].State == strategy.StateIdle {
		return "", nil
	}
	last := before.Rollout.History[n-1]
	last.At, last.State, last.Phase, last.Message, last.Figures = metav1.NewTime(now), strategy.StateIdle, v1alpha1.Superseded, "another rollout took its place", nil
	if ro := &before.Rollout; ro.Aborted == before.Update && ro.End != "" {
		last.Phase, last.Message = ro.End, fmt.Sprintf("%.300s", ro.AbortReason)
	}
	all := slices.Concat(before.Rollout.History, []v1alpha1.Moment{last})
	if len(all) > mostMoments {
		all = thin(all)
	}
	return before.Update, all
}

// figuresOf returns what people are shown of a revision's figures: the failures that
// the gateway has counted if those are more.
func figuresOf(s gate.Sample) *v1alpha1.StepFigures {
	f := &v1alpha1.StepFigures{Requests: s.Requests + s.Errors, Errors: s.Errors, Rows: s.Rows, P95Microseconds: int64(gate.P95(s.Durations) * 1e6)}
	if g := s.Gateway; g != nil && g.Errors > f.Errors {
		f.Requests, f.Errors = g.Requests, g.Errors
	}
	return f
}
