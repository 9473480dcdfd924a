package controller

import (
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/gate"
	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestHistoryIsBounded checks that a rollout that goes back and forth keeps a bounded
// history with its first and its last moment and each of its steps.
func TestHistoryIsBounded(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &v1alpha1.ModelDeploymentStatus{Update: "b", Stable: "a"}
	steps := int32(5)
	for i := range int32(500) {
		before := s.DeepCopy()
		s.Rollout.Step = i * steps / 500
		s.Rollout.State = []string{strategy.StateGating, strategy.StateMeasuring}[i%2]
		seen := &sight{world: strategy.World{Acked: true, Weights: map[string]int32{"b": 10 * s.Rollout.Step}}, figures: figuresOf(gate.Sample{Rows: int64(i)})}
		keepHistory(before, s, seen, now.Add(time.Duration(i)*time.Second))
	}
	all := s.Rollout.History
	if len(all) != mostMoments || !all[0].At.Time.Equal(now) || !all[len(all)-1].At.Time.Equal(now.Add(499*time.Second)) {
		t.Errorf("%d moments from %s to %s", len(all), all[0].At, all[len(all)-1].At)
	}
	there := map[int32]int64{}
	for i := range all {
		if f := all[i].Figures; f != nil {
			there[all[i].Step] = max(there[all[i].Step], f.Rows)
		}
	}
	for step := range steps {
		if n := there[step]; n < int64(step)*100 {
			t.Errorf("step %d has figures of %d rows", step, n)
		}
	}
}

// TestSuperseded checks how the history of a rollout ends that another one has replaced:
// it stays bounded, and a rollout that was given up keeps its end.
func TestSuperseded(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		rollout v1alpha1.Rollout
		phase   string
		says    string
	}{
		"under way": {phase: v1alpha1.Superseded, says: "another rollout took its place"},
		"given up":  {rollout: v1alpha1.Rollout{Aborted: "b", End: v1alpha1.Failed, AbortReason: "a gate failed"}, phase: v1alpha1.Failed, says: "a gate failed"},
	} {
		t.Run(name, func(t *testing.T) {
			before := &v1alpha1.ModelDeploymentStatus{Update: "b", Stable: "a", Rollout: c.rollout}
			for i := range mostMoments {
				before.Rollout.History = append(before.Rollout.History, v1alpha1.Moment{State: strategy.StateGating, Step: int32(i / 4)})
			}
			replaced, all := superseded(before, &v1alpha1.ModelDeploymentStatus{Update: "c", Stable: "a"}, now)
			if replaced != "b" || len(all) != mostMoments {
				t.Fatalf("%q, %d moments", replaced, len(all))
			}
			if end := all[len(all)-1]; end.State != strategy.StateIdle || end.Phase != c.phase || end.Message != c.says || !end.At.Time.Equal(now) {
				t.Errorf("%+v", end)
			}
		})
	}
}
