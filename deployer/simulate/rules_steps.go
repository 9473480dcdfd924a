package simulate

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// begin: what must happen before a rollout keeps it from beginning, and never stops
// it.
func (r *rules) begin(world strategy.World, plan strategy.Plan) error {
	s := &plan.Status
	if s.Update == s.Stable {
		return nil
	}
	before := &world.Status
	if before.Update == s.Update && before.Rollout.Aborted == s.Update && before.Rollout.Attempt != s.Rollout.Attempt && before.Rollout.State != strategy.StateIdle {
		return fmt.Errorf("another attempt at %s begins before the end of the last one", s.Update)
	}
	_, planned := plan.Replicas[s.Update]
	switch {
	case world.Blocked != "" && !r.begun && (planned || plan.Weights[s.Update] > 0):
		return fmt.Errorf("%s has pods, and waits: %s", s.Update, world.Blocked)
	case r.begun && s.Rollout.State == strategy.StateBlocked:
		return fmt.Errorf("%s is stopped in the middle: %s", s.Update, world.Blocked)
	}
	return nil
}

// overdue: a rollout that gets no further ends.
func (r *rules) overdue(world strategy.World, plan strategy.Plan) error {
	limit := world.Spec.Strategy.Deadline.Duration
	if !rolling(plan) || world.Spec.Paused || r.changed || !lacking(world, plan) {
		return nil
	}
	if r.stuck > limit+mostCounted+r.slack {
		return fmt.Errorf("%s has missed something for %s and goes on", plan.Status.Update, r.stuck)
	}
	return nil
}

// rowsOf returns how many rows the new revision must have scored at a step.
func rowsOf(world strategy.World, i int32) int64 {
	s := world.Spec.Strategy
	if s.Type != v1alpha1.Canary || (s.Gates != nil && s.Gates.Disabled) {
		return 0
	}
	if world.Spec.Template.Samples > 0 {
		i--
	}
	for _, at := range s.Steps {
		if at.Weight >= 100 {
			continue
		}
		if i == 0 {
			return at.MinSamples
		}
		i--
	}
	return 0
}

// stepOf returns how the strategy describes a step of the new revision.
func stepOf(world strategy.World, i int32) (gated, optional, pause bool, hold time.Duration) {
	s := world.Spec.Strategy
	gates := s.Gates == nil || !s.Gates.Disabled
	replay := gates && world.Spec.Template.Samples > 0
	switch s.Type {
	case v1alpha1.BlueGreen:
		if i == 0 {
			return replay, false, false, 0
		}
		if gates {
			hold = 30 * time.Second
		}
		return gates, true, false, hold
	case v1alpha1.Canary:
		if replay {
			if i == 0 {
				return true, false, false, 0
			}
			i--
		}
		for _, at := range s.Steps {
			if at.Weight >= 100 {
				continue
			}
			if i == 0 {
				return gates && at.Weight > 0, false, at.Pause, at.Hold.Duration
			}
			i--
		}
	}
	return false, false, false, 0
}

// left returns the step that a plan leaves for the next one, or false.
func (r *rules) left(world strategy.World, plan strategy.Plan) (int32, bool) {
	before := world.Status
	promoted := plan.Status.Stable == plan.Status.Update && before.Stable != plan.Status.Update && before.Stable != ""
	same := before.Update == plan.Status.Update && before.Rollout.Attempt == plan.Status.Rollout.Attempt
	if !same || r.changed || skipped(world, plan) || before.Rollout.Aborted != "" {
		return 0, false
	}
	return before.Rollout.Step, promoted || plan.Status.Rollout.Step > before.Rollout.Step && rolling(plan)
}

// gates: no step is left before its gates have passed.
func (r *rules) gates(world strategy.World, plan strategy.Plan) error {
	if gated, _, _, _ := stepOf(world, 0); gated && world.Status.Update != plan.Status.Update && rolling(plan) && plan.Status.Rollout.Step > 0 && !skipped(world, plan) {
		return fmt.Errorf("step 0 is left at once")
	}
	step, ok := r.left(world, plan)
	if !ok {
		return nil
	}
	alone := r.deserted(world, step)
	for i := step + 1; i < plan.Status.Rollout.Step; i++ {
		switch gated, _, pause, hold := stepOf(world, i); {
		case pause && alone:
			return fmt.Errorf("step %d, which waits for a user, is left at once", i)
		case (gated || hold > 0) && !alone:
			return fmt.Errorf("step %d is left at once", i)
		}
	}
	gated, optional, pause, _ := stepOf(world, step)
	at := world.Spec.Resume
	resumed := at != nil && at.Revision == plan.Status.Update && at.Step >= step
	proceed := world.Spec.Strategy.Gates != nil && world.Spec.Strategy.Gates.Inconclusive == "proceed"
	switch {
	case pause && !resumed:
		return fmt.Errorf("step %d was to wait for a user", step)
	case !gated:
		return nil
	case world.GateStep != step, world.Gate == strategy.NotRun, world.Gate == strategy.Broken, world.Gate == strategy.Fail:
		return fmt.Errorf("step %d is left, and its gates have not passed: %d of step %d", step, world.Gate, world.GateStep)
	case world.Gate == strategy.CannotTell && !resumed, world.Gate == strategy.Inconclusive && !resumed && !proceed && !optional:
		return fmt.Errorf("step %d is left, and its gates do not tell: %d", step, world.Gate)
	case alone: // its gates have passed, and there is nothing to compare it with
	case r.counted < rowsOf(world, step) && !resumed:
		return fmt.Errorf("step %d is left after %d rows", step, r.counted)
	case world.Observed == strategy.Differs && !resumed:
		return fmt.Errorf("step %d is left, and requests do not follow its weight", step)
	}
	return nil
}

// rows: a step does not wait for rows that were counted.
func (r *rules) rows(world strategy.World, plan strategy.Plan) error {
	step := plan.Status.Rollout.Step
	need := rowsOf(world, step)
	if !r.changed && step == world.Status.Rollout.Step && world.Status.Update == plan.Status.Update && r.counted >= need && strings.Contains(plan.Status.Message, "rows at this weight") {
		return fmt.Errorf("step %d has %d rows: %s", step, r.counted, plan.Status.Message)
	}
	return nil
}

// alone reports whether only the new revision can answer.
func alone(world strategy.World, update string) bool {
	stable, old := world.Status.Stable, world.Status.Rollout.Old
	if old == update {
		old = ""
	}
	return pods(world, stable, old) == 0 && world.Revisions[stable].Ready == 0 && pods(world, update) > 0
}

// deserted reports whether the new revision has all requests because no other could answer
// for the deadline, and a step was held for its time.
func (r *rules) deserted(world strategy.World, step int32) bool {
	_, _, _, hold := stepOf(world, step)
	return alone(world, world.Status.Update) && r.held+r.slack >= hold && r.alone >= world.Spec.Strategy.Deadline.Duration
}

// hold: no step is left before its weight has been held for its time, and for long
// enough after a crash.
func (r *rules) hold(world strategy.World, plan strategy.Plan) error {
	step, ok := r.left(world, plan)
	if !ok {
		return nil
	}
	_, _, _, hold := stepOf(world, step)
	if (r.crashes > 0 && watched(world, "restarts")) || (r.kills > 0 && watched(world, "oom-kills")) {
		hold = max(hold, 2*r.crashedAt-2*r.lost)
	}
	if r.held+r.slack < hold {
		return fmt.Errorf("step %d was held for %s of %s", step, r.held, hold)
	}
	return nil
}

// paused: while the rollout is paused, it gets no further and does not end.
func (r *rules) paused(world strategy.World, plan strategy.Plan) error {
	if !world.Spec.Paused || !rolling(plan) || !r.known || !r.world.Spec.Paused {
		return nil
	}
	u := plan.Status.Update
	if step, ok := r.left(world, plan); ok {
		return fmt.Errorf("step %d is left in a pause", step)
	}
	if before := r.plan.Weights[u]; plan.Weights[u] > before && pods(world, established(plan)...) > 0 {
		return fmt.Errorf("the weight rises from %d to %d %% in a pause", before, plan.Weights[u])
	}
	return nil
}

// drain: pods of an aborted revision stay until their last requests have ended.
func (r *rules) drain(world strategy.World, plan strategy.Plan) error {
	s := &plan.Status
	u := world.Revisions[s.Update]
	if _, kept := plan.Replicas[s.Update]; s.Rollout.Aborted != s.Update || kept || u.Desired == 0 || s.Stable == "" || r.ended != "" || !r.known {
		return nil
	}
	if need := world.Spec.Strategy.Drain.Duration; r.gone+r.slack < need || world.Weights[s.Update] > 0 {
		return fmt.Errorf("the pods of %s are removed %s after their traffic", s.Update, r.gone)
	}
	return nil
}

// watched reports whether one of the gates that crashes fail is asked.
func watched(world strategy.World, gate string) bool {
	g := world.Spec.Strategy.Gates
	return g == nil || (!g.Disabled && !slices.Contains(g.Skip, gate))
}

// loop: a revision whose hosts end again and again is never promoted.
func (r *rules) loop(world strategy.World, plan strategy.Plan) error {
	s := &plan.Status
	looped := (r.crashes > 1 && watched(world, "restarts")) || (r.kills > 1 && watched(world, "oom-kills"))
	if !looped || skipped(world, plan) || world.Status.Update != s.Update || world.Status.Stable == s.Update || r.changed {
		return nil
	}
	if s.Rollout.Aborted != s.Update && s.Rollout.Begun != nil {
		return fmt.Errorf("hosts of %s have ended %d times, and it goes on", s.Update, r.crashes)
	}
	return nil
}

// repeated: a plan for its own status at the same time is the same plan.
func (r *rules) repeated(w *Walk, world strategy.World, plan strategy.Plan) error {
	if !maps.Equal(world.Weights, plan.Weights) || world.Spec.Attempt != plan.Status.Rollout.Attempt {
		return nil // the next plan is another one
	}
	if world.Status.Rollout.Old != "" && plan.Status.Rollout.Old == "" { // whose pods count no longer
		return nil
	}
	again := world
	again.Status = plan.Status
	if world.Status.Update != plan.Status.Update {
		again.GateStep = -1
	}
	second := w.Next(again)
	if !reflect.DeepEqual(second.Status, plan.Status) || !maps.Equal(second.Weights, plan.Weights) {
		return fmt.Errorf("planning twice: %+v, then %+v", plan.Status, second.Status)
	}
	return nil
}

// ends counts the ends of hosts since the last plan.
func (r *rules) ends(world strategy.World, plan strategy.Plan) {
	u := plan.Status.Update
	for pod, n := range world.Revisions[u].Crashes {
		if before := r.crashed[pod]; n > before {
			r.crashes += n - before
			r.crashed[pod] = n
			killed := world.Revisions[u].OOMKilled[pod]
			if killed {
				r.kills++
			}
			if watched(world, "restarts") || killed && watched(world, "oom-kills") {
				r.crashedAt = r.served
				if !skipped(world, plan) {
					r.held = 0
				}
			}
		}
	}
}
