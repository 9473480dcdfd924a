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

// mostCounted is how much of the time between two plans counts, unwritten is by how
// much a status may be behind that was not written, and heartbeat is how often times
// are.
const (
	mostCounted = 15 * time.Second
	unwritten   = 15 * time.Second
	heartbeat   = 5 * time.Second
)

// rules follow a walk. They count for themselves what a rollout has waited for, and
// share no code with the strategy.
type rules struct {
	update              string
	world               strategy.World
	plan                strategy.Plan
	inForce             map[string]int32 // the weights that the gateway last accepted
	known               bool             // world and plan are those of the evaluation before
	begun               bool
	changed             bool // the strategy was changed during the rollout
	step                int32
	held, missing, gone time.Duration
	alone               time.Duration // nobody else could answer
	counted             int64         // rows at the step
	stuck               time.Duration // without any progress
	best                int32
	served              time.Duration
	slack, lost         time.Duration    // in the step, and in the rollout
	crashed             map[string]int32 // by pod, once exposed
	crashes, kills      int32            // of hosts, and of those for lack of memory
	crashedAt           time.Duration    // served at the last crash
	ended               string
}

// check returns which rule a plan breaks.
func (r *rules) check(w *Walk, world strategy.World, plan strategy.Plan, written bool) error {
	before := *r
	before.crashed = maps.Clone(r.crashed)
	r.follow(world, plan)
	r.inForce, r.counted = w.InForce, w.before+w.Rows
	for _, rule := range []struct {
		name  string
		holds func(strategy.World, strategy.Plan) error
	}{
		{"shares", r.shares}, {"step", r.bounded}, {"load", r.load}, {"stable pods", r.stable}, {"end", r.end}, {"final", r.final},
		{"begin", r.begin}, {"deadline", r.overdue}, {"gates", r.gates}, {"rows", r.rows}, {"hold", r.hold}, {"pause", r.paused}, {"drain", r.drain}, {"crashes", r.loop},
	} {
		if err := rule.holds(world, plan); err != nil {
			return fmt.Errorf("%s: %w", rule.name, err)
		}
	}
	if written {
		r.remember(world, plan)
	} else { // nobody remembers what this plan has seen
		*r = before
		r.slack += unwritten
		r.lost += unwritten
		r.alone += unwritten
	}
	if w.chance(10) {
		return r.repeated(w, world, plan)
	}
	return nil
}

// follow counts the time since the last plan.
func (r *rules) follow(world strategy.World, plan strategy.Plan) {
	u := plan.Status.Update
	again := world.Status.Update == u && world.Status.Rollout.Aborted == u && world.Status.Rollout.Attempt != plan.Status.Rollout.Attempt
	if u != r.update || again {
		*r = rules{update: u}
	}
	if !r.known {
		return
	}
	d := world.Now.Sub(r.world.Now)
	if d < 0 || d > mostCounted-heartbeat { // what was not written since the last beat is forgotten
		r.slack += heartbeat
		r.lost += heartbeat
		r.alone += heartbeat
	}
	d = max(0, min(d, mostCounted))
	if r.begun && r.plan.Status.Phase != v1alpha1.Paused {
		r.served += d
		r.alone += d
	}
	if !alone(r.world, u) || !alone(world, u) {
		r.alone = 0
	}
	switch {
	case r.plan.Status.Rollout.Begun == nil:
	case r.plan.Status.Rollout.Aborted != "":
		if r.world.Weights[u] == 0 && r.world.Acked {
			r.gone += d
		} else {
			r.gone = 0
		}
	case r.plan.Status.Phase == v1alpha1.Paused:
		r.stuck = 0
	case lacking(r.world, r.plan):
		r.missing += d
		r.stuck += d
	default:
		r.held += d
		r.stuck = 0
	}
	if n := world.Revisions[u].Endpoints; n > r.best {
		r.best, r.stuck = n, 0
	}
	r.changed = r.changed || !reflect.DeepEqual(r.world.Spec.Strategy, world.Spec.Strategy) || r.world.Stable != world.Stable || r.world.Spec.Promote != world.Spec.Promote || r.world.Spec.RollbackOf != world.Spec.RollbackOf
	if r.crashed != nil {
		r.ends(world, plan)
	}
}

// lacking reports whether a rollout waits for pods, the gateway or figures.
func lacking(world strategy.World, plan strategy.Plan) bool {
	u := plan.Status.Update
	if most := share(world, plan.Status.Rollout.Step); rolling(plan) && plan.Weights[u] < most {
		return true
	}
	return world.Revisions[u].Endpoints < plan.Replicas[u] || !maps.Equal(world.Weights, plan.Weights) || !world.Acked || (plan.Gates && world.Gate == strategy.Broken && world.GateStep == plan.Status.Rollout.Step)
}

// remember keeps what the next plan is compared with.
func (r *rules) remember(world strategy.World, plan strategy.Plan) {
	ro := &plan.Status.Rollout
	if r.step != ro.Step {
		r.held, r.slack, r.stuck, r.best, r.changed = 0, 0, 0, 0, false
	}
	if ro.Crashes != nil && r.crashed == nil {
		r.crashed = map[string]int32{}
		maps.Copy(r.crashed, world.Revisions[plan.Status.Update].Crashes)
	}
	r.step, r.world, r.plan, r.known = ro.Step, world, plan, true
	r.begun = r.begun || ro.Begun != nil
	if ro.State == strategy.StateIdle {
		r.ended = plan.Status.Phase
	}
}

// rolling reports whether a rollout is on its way through its steps.
func rolling(plan strategy.Plan) bool {
	s := &plan.Status
	return s.Stable != "" && s.Update != s.Stable && s.Rollout.Aborted == "" && s.Rollout.Begun != nil
}

// skipped reports whether a user lets the rollout skip its steps.
func skipped(world strategy.World, plan strategy.Plan) bool {
	stable := world.Status.Stable
	return world.Spec.Promote == plan.Status.Update || (stable != "" && world.Spec.RollbackOf == stable)
}

// established are the revisions besides the new one that may serve.
func established(plan strategy.Plan) []string {
	out := []string{plan.Status.Stable}
	if old := plan.Status.Rollout.Old; old != "" {
		out = append(out, old)
	}
	return out
}

func pods(world strategy.World, all ...string) int32 {
	n := int32(0)
	for _, name := range all {
		n += world.Revisions[name].Endpoints
	}
	return n
}

func (r *rules) shares(world strategy.World, plan strategy.Plan) error {
	sum := int32(0)
	all := append(established(plan), plan.Status.Update)
	for name, share := range plan.Weights {
		sum += share
		if _, ok := plan.Replicas[name]; !ok || share <= 0 {
			return fmt.Errorf("%s has %d %% and no pods planned", name, share)
		}
		serving := slices.ContainsFunc(all, func(other string) bool {
			_, planned := plan.Replicas[other]
			return planned && other != "" && world.Revisions[other].Endpoints > 0 && (other != plan.Status.Update || plan.Status.Rollout.Begun != nil)
		})
		if world.Revisions[name].Endpoints == 0 && name == plan.Status.Update && rolling(plan) {
			return fmt.Errorf("%s is new and has %d %% without a pod", name, share)
		}
		if world.Revisions[name].Endpoints == 0 && serving {
			return fmt.Errorf("%s has %d %% and no pod to answer, while others could", name, share)
		}
	}
	if len(plan.Weights) > 0 && sum != 100 {
		return fmt.Errorf("the shares are %v", plan.Weights)
	}
	return nil
}

// share returns what a step gives the new revision.
func share(world strategy.World, step int32) int32 {
	s := world.Spec.Strategy
	gates := s.Gates == nil || !s.Gates.Disabled
	switch s.Type {
	case v1alpha1.BlueGreen:
		return min(1, step) * 100
	case v1alpha1.Rolling:
		n := max(1, world.Stable)
		return 100 * min(n, (step+1)*((n+3)/4)) / n
	case v1alpha1.Canary:
		if gates && world.Spec.Template.Samples > 0 {
			if step == 0 {
				return 0
			}
			step--
		}
		for _, at := range s.Steps {
			if at.Weight >= 100 {
				continue
			}
			if step == 0 {
				return at.Weight
			}
			step--
		}
	}
	return 100
}

// bounded: the canary never has more than its step while others can answer.
func (r *rules) bounded(world strategy.World, plan strategy.Plan) error {
	if !rolling(plan) || skipped(world, plan) || pods(world, established(plan)...) == 0 {
		return nil
	}
	if most := share(world, plan.Status.Rollout.Step); plan.Weights[plan.Status.Update] > most {
		return fmt.Errorf("the new revision has %d %% at a step of %d %%", plan.Weights[plan.Status.Update], most)
	}
	return nil
}

// load: no revision has more than its pods can take, unless all pods are too few or
// the new revision may have no more.
func (r *rules) load(world strategy.World, plan strategy.Plan) error {
	s := &plan.Status
	among := established(plan)
	going := rolling(plan)
	_, kept := plan.Replicas[s.Update]
	if s.Update != s.Stable && kept {
		among = append(among, s.Update)
	}
	if before := world.Status.Update; before != s.Update && !slices.Contains(among, before) && world.Weights[before] > 0 && world.Revisions[before].Desired > 0 {
		among = append(among, before) // it is superseded now
	}
	total := pods(world, among...)
	if total == 0 || world.Stable == 0 || s.Stable == "" || world.Ratio { // numbers of pods split by themselves
		return nil
	}
	for name, weight := range plan.Weights {
		n := world.Revisions[name].Endpoints
		most := max((100*n+world.Stable-1)/world.Stable, (100*n+total-1)/total) + int32(len(among))
		if weight <= most {
			continue
		}
		if going && name != s.Update && r.relieved(world, plan, total) {
			continue
		}
		return fmt.Errorf("%s has %d %% with %d of %d pods, where %d %% are what it can take", name, weight, n, total, most)
	}
	return nil
}

// relieved reports whether the new revision has as much as it may have: the share of
// its step or, until it has the pods for that, what it had before.
func (r *rules) relieved(world strategy.World, plan strategy.Plan, total int32) bool {
	s := &plan.Status
	may := min(share(world, s.Rollout.Step), 100*world.Revisions[s.Update].Endpoints/total)
	if s.Rollout.State == strategy.StateScaling || world.Spec.Paused {
		before := world.Status.Rollout.Weight
		if world.Status.Update != s.Update { // it serves as the former one
			before = world.Weights[s.Update]
		}
		may = min(may, before)
	}
	return plan.Weights[s.Update] >= may
}

// stable: stable pods are not removed while they have requests.
func (r *rules) stable(world strategy.World, plan strategy.Plan) error {
	s := plan.Status.Stable
	if s == "" {
		return nil
	}
	n, ok := plan.Replicas[s]
	if !ok {
		return fmt.Errorf("the stable revision has no pods planned")
	}
	if plan.Status.Rollout.Aborted != "" && n < world.Stable {
		return fmt.Errorf("%d of %d stable pods are planned while an aborted revision goes", n, world.Stable)
	}
	if u := plan.Status.Update; rolling(plan) && pods(world, established(plan)...) == 0 && world.Revisions[s].Ready == 0 && plan.Replicas[u] < world.Stable {
		return fmt.Errorf("nobody else serves, and %s is given %d of %d pods", u, plan.Replicas[u], world.Stable)
	}
	served := plan.Weights[s]
	if world.Status.Stable == s && world.Status.Update == plan.Status.Update {
		served = max(served, min(r.inForce[s], 100*world.Revisions[s].Desired/max(1, world.Stable)))
	}
	if need := world.Stable * served / 100; n < need {
		return fmt.Errorf("the stable revision has %d %% and is given %d of %d pods", served, n, world.Stable)
	}
	return nil
}

// end: nothing but an abort, a gate, crashes and missing progress ends a rollout, and
// an abort always does.
func (r *rules) end(world strategy.World, plan strategy.Plan) error {
	u, ro := plan.Status.Update, &plan.Status.Rollout
	if world.Spec.Abort == u && u != plan.Status.Stable && ro.Aborted != u {
		return fmt.Errorf("%s was to be aborted and goes on", u)
	}
	before := world.Status.Rollout.Aborted == u && world.Status.Update == u && world.Status.Rollout.Attempt == ro.Attempt
	if ro.Aborted != u || before {
		return nil
	}
	limit := time.Duration(0)
	if d := world.Spec.Strategy.Deadline; d != nil {
		limit = d.Duration
	}
	switch why := ro.AbortReason; {
	case strings.HasPrefix(why, "aborted:") && world.Spec.Abort == u:
	case strings.HasPrefix(why, "a gate failed") && world.Gate == strategy.Fail && world.GateStep == ro.Step && !skipped(world, plan):
	case strings.Contains(why, "started again") && r.crashes > 1 && watched(world, "restarts") && !skipped(world, plan):
	case strings.Contains(why, "OOMKilled") && r.kills > 1 && watched(world, "oom-kills") && !skipped(world, plan):
	case strings.HasPrefix(why, "deadline") && r.missing+r.slack > limit && !world.Spec.Paused && (lacking(world, r.plan) || world.Gate == strategy.Broken) && (plan.Status.Stable != "" || pods(world, u) == 0):
	default:
		return fmt.Errorf("%s was given up after it missed something for %s: %s", u, r.missing, why)
	}
	return nil
}

// final: every end is final, and true.
func (r *rules) final(world strategy.World, plan strategy.Plan) error {
	s := &plan.Status
	if r.ended != "" {
		if s.Phase != r.ended {
			return fmt.Errorf("%s ended as %s and is %s now: %s", s.Update, r.ended, s.Phase, s.Message)
		}
		return nil
	}
	if s.Rollout.State != strategy.StateIdle {
		return nil
	}
	switch s.Phase {
	case v1alpha1.Deployed:
		if world.Status.Stable == s.Update { // nothing was rolled out
			return nil
		}
		if pods(world, s.Update) < world.Stable || (world.Stable > 0 && (world.Weights[s.Update] != 100 || !world.Acked)) {
			return fmt.Errorf("%s is called deployed with %d of %d pods and weights %v", s.Update, pods(world, s.Update), world.Stable, world.Weights)
		}
	case v1alpha1.Failed, v1alpha1.RolledBack:
		if world.Weights[s.Update] > 0 || world.Revisions[s.Update].Pods > 0 {
			return fmt.Errorf("%s is called %s with %d pods and weights %v", s.Update, s.Phase, world.Revisions[s.Update].Pods, world.Weights)
		}
		if (s.Phase == v1alpha1.RolledBack) != strings.HasPrefix(s.Rollout.AbortReason, "aborted:") {
			return fmt.Errorf("%s is called %s: %s", s.Update, s.Phase, s.Rollout.AbortReason)
		}
	default:
		return fmt.Errorf("%s ended as %q", s.Update, s.Phase)
	}
	return nil
}
