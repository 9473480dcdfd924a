package strategy

import (
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// roll continues the rollout from its present step.
func (m *machine) roll() {
	all := steps(m.Spec.Strategy, m.Stable, m.Spec.Template.Samples > 0)
	back := m.rollback()
	if back {
		all = []step{{weight: 100, full: true}}
	}
	skip := back || m.Spec.Promote == m.Update
	last := int32(len(all) - 1)
	if m.ro.Step > last || (skip && m.ro.Step < last) {
		m.ro.Step = last
		m.restart()
	}
	at := all[m.ro.Step]
	u := m.Revisions[m.Update]
	need := m.need(at)
	m.plan.Replicas[m.Update], m.plan.Replicas[m.st.Stable] = need, m.Stable
	before := m.ro.Weight
	if !skip {
		if why := m.crashed(); why != "" {
			m.fail(m.where(all) + ": " + why)
			return
		}
	}
	m.progress(u.Endpoints)
	if u.Endpoints < need {
		m.route(m.forward(min(before, at.weight)))
		m.shrink()
		m.waiting(StateScaling, fmt.Sprintf("%s: %d of %d pods are ready%s", m.where(all), u.Endpoints, need, because(u.Problem)))
		return
	}
	want := m.forward(at.weight)
	if m.Spec.Paused {
		want = min(want, max(before, m.forward(0)))
	}
	m.route(want)
	m.shrink()
	if !m.settled() {
		return
	}
	m.expose()
	m.judge(all, at, skip)
}

// progress records how many pods are ready. More than ever before begin the wait
// anew.
func (m *machine) progress(ready int32) {
	if ready > m.ro.Best {
		m.ro.Best = ready
		m.times.waited = 0
		m.fresh = true
	}
}

// judge decides what follows a step whose pods are ready and whose weight is routed:
// its gates, its hold, its pause, or the next step.
func (m *machine) judge(all []step, at step, skip bool) {
	gated := at.gates && !skip
	if m.GateStep != m.ro.Step {
		m.Gate, m.GateSays = NotRun, ""
	}
	m.plan.Gates = gated
	where := m.where(all)
	left, rows := m.hold(at)-m.times.held, m.rows(at.rows)
	wait := max(left, deadline(m.Spec.Strategy)-m.times.alone) // if nobody else can answer
	dead := gated && int(m.ro.Step) < len(all)-1 && m.nobodyElse() && !m.resumed() && !asksUser(all[m.ro.Step:])
	if !gated || (m.Gate != Broken && m.Gate != NotRun) { // the wait has ended, and leaves time for another one
		m.times.waited = min(m.times.waited, deadline(m.Spec.Strategy)/2)
	}
	switch {
	case gated && m.Gate == Fail:
		m.fail("a gate failed at " + where + ": " + m.GateSays)
	case gated && m.Gate == Broken:
		m.waiting(StateMeasuring, where+": no figures for the gates"+because(m.GateSays))
	case m.Spec.Paused:
		m.say(StatePaused, v1alpha1.Paused, "%s: paused%s", where, because(m.Spec.Reason))
		m.after(longestTick)
	case gated && m.Gate == NotRun:
		m.say(StateGating, m.phase(), "%s: asking the hosts for figures", where)
		m.tick()
	case dead && m.Gate == Pass && wait > 0:
		m.say(StateGating, m.phase(), "%s; it goes on in %s if that stays so", where, wait.Round(time.Second))
		m.after(min(wait, longestTick))
	case dead && m.Gate == Pass: // all requests are answered by the new revision already
		m.skipTo(int32(len(all) - 1))
	case left > 0 && !skip:
		m.say(StateGating, m.phase(), "%s: holding for %s more%s", where, left.Round(time.Second), m.sinceCrash(at))
		m.after(min(left, longestTick))
	case gated && rows < at.rows && !m.resumed():
		part := rowsPart(at.rows)
		m.say(StatePaused, v1alpha1.Paused, "%s: too few samples: %d of %d rows at this weight; `deploy resume` goes past it", where, rows/part*part, at.rows)
		m.after(longestTick)
	case gated && m.Observed == Differs && !m.resumed():
		m.say(StateVerifying, v1alpha1.Paused, "%s: requests do not follow the weight%s; `deploy resume` goes past it", where, because(m.SplitSays))
		m.after(longestTick)
	case gated && m.Gate == CannotTell && !m.resumed():
		m.say(StatePaused, v1alpha1.Paused, "%s: a gate cannot tell: %s; `deploy resume` goes past it", where, m.GateSays)
		m.after(longestTick)
	case gated && m.Gate == Inconclusive && !at.optional && !m.proceeds():
		m.say(StatePaused, v1alpha1.Paused, "%s: too few samples: %s", where, m.GateSays)
		m.after(longestTick)
	case at.pause && !skip && !m.resumed():
		m.say(StatePaused, v1alpha1.Paused, "%s: waits for `deploy resume`", where)
		m.after(30 * time.Second)
	case int(m.ro.Step) == len(all)-1:
		m.promote()
	default:
		m.skipTo(m.ro.Step + 1)
	}
}

// skipTo goes on with a later step.
func (m *machine) skipTo(step int32) {
	m.ro.Step = step
	m.plan.Gates = false
	m.restart()
	m.roll()
}

// nobodyElse reports whether no other revision can answer, so that there is nothing to
// compare with. The new revision has all requests then, and waiting protects nobody. It is
// no matter if the new revision is not to be compared.
func (m *machine) nobodyElse() bool {
	return m.others() == 0 && m.Revisions[m.st.Stable].Ready == 0 && m.endpoints(m.Update) > 0 && m.Spec.ReplaceBroken != m.Update
}

// sinceCrash says why a step is held longer than its strategy says.
func (m *machine) sinceCrash(at step) string {
	if m.hold(at) == at.hold {
		return ""
	}
	return fmt.Sprintf(", because hosts crashed after %s", m.ro.Crashes.Served.Round(time.Second))
}

// need returns how many pods of the new revision a step needs.
func (m *machine) need(at step) int32 {
	if at.full {
		return m.Stable
	}
	if s := m.Revisions[m.st.Stable]; s.Endpoints == 0 && s.Ready == 0 { // no other revision serves
		return m.Stable
	}
	return replicasFor(at.weight, m.Stable, m.beside())
}

// beside reports whether the new revision's pods come in addition to all stable
// ones, because only the numbers of pods split the traffic. In a rolling rollout
// they replace stable ones.
func (m *machine) beside() bool { return m.Ratio && m.Spec.Strategy.Type != v1alpha1.Rolling }

// shrink scales the stable revision of a rolling rollout down by the pods that the
// new revision's share replaces. Until the gateway has accepted the share, it
// removes none.
func (m *machine) shrink() {
	if m.Spec.Strategy.Type != v1alpha1.Rolling || m.rollback() || m.Stable == 0 {
		return
	}
	gone := min(m.plan.Weights[m.Update], m.Weights[m.Update])
	idle := min((m.Stable*gone+50)/100, m.Revisions[m.Update].Endpoints)
	n := max(1, m.Stable-idle)
	if !m.Acked {
		n = max(n, min(m.Stable, m.Revisions[m.st.Stable].Desired))
	}
	m.plan.Replicas[m.st.Stable] = n
}

// where names the present step.
func (m *machine) where(all []step) string {
	at := all[m.ro.Step]
	text := fmt.Sprintf("step %d of %d, %d %%", m.ro.Step+1, len(all), at.weight)
	if m.beside() && at.weight > 0 && at.weight < 100 {
		n := m.need(at)
		text += fmt.Sprintf(" (%d of %d pods: no Gateway splits the traffic)", n, n+m.Stable)
	}
	if m.others() == 0 && m.endpoints(m.Update) > 0 && int(m.ro.Step) < len(all)-1 {
		text += " (no other revision can answer: `deploy resume --full` skips the steps)"
	}
	return text
}

func (m *machine) phase() string {
	if m.rollback() {
		return v1alpha1.RollingBack
	}
	return v1alpha1.Deploying
}

// asksUser reports whether one of the steps waits for a user.
func asksUser(steps []step) bool {
	return slices.ContainsFunc(steps, func(s step) bool { return s.pause })
}

// enters reports whether a state begins now, or the wait for another weight. The clock may
// have jumped since it began.
func (m *machine) enters(state string) bool {
	was := &m.Status.Rollout
	if state == StateShifting && !maps.Equal(m.Weights, m.plan.Weights) && m.plan.Weights[m.Update] != was.Weight {
		return true
	}
	return was.State != state || was.Since == nil || was.Since.Time.Equal(m.Now)
}

// waiting enters a state that has a deadline.
func (m *machine) waiting(state, message string) {
	if m.Spec.Paused {
		m.say(state, v1alpha1.Paused, "%s; paused", message)
		m.after(longestTick)
		return
	}
	// What has only begun to be missing is not what the deadline has passed for.
	if m.times.waited > deadline(m.Spec.Strategy) && !m.serves && !m.enters(state) {
		m.fail(fmt.Sprintf("deadline of %s exceeded in state %s: %s", deadline(m.Spec.Strategy), state, message))
		return
	}
	m.say(state, m.phase(), "%s", message)
	m.tick()
}

// settled reports whether the route has the planned weights and the gateway has
// accepted them.
func (m *machine) settled() bool {
	want := m.plan.Weights[m.Update]
	switch {
	case len(m.plan.Weights) == 0: // there are no pods, and none are wanted
		return true
	case !maps.Equal(m.Weights, m.plan.Weights):
		m.waiting(StateShifting, fmt.Sprintf("setting the weight to %d %%", want))
	case !m.Acked:
		m.waiting(StateShifting, fmt.Sprintf("the gateway has not taken the weight of %d %% yet", want))
	default:
		return true
	}
	return false
}

// fail aborts the rollout because of an error.
func (m *machine) fail(reason string) {
	m.giveUp(v1alpha1.Failed, reason)
	m.plan.Gates, m.plan.After, m.plan.Weights = false, 0, nil
	clear(m.plan.Replicas)
	m.recover()
}

// proceeds reports whether the rollout continues with too few samples.
func (m *machine) proceeds() bool {
	g := m.Spec.Strategy.Gates
	return (g != nil && g.Inconclusive == "proceed") || m.resumed()
}

// resumed reports whether a user let the rollout continue past its present step.
func (m *machine) resumed() bool {
	r := m.Spec.Resume
	return r != nil && r.Revision == m.Update && r.Step >= m.ro.Step
}

// promote makes the new revision the stable one. It keeps the former one for a
// while.
func (m *machine) promote() {
	before := m.st.Stable
	rollback := before != "" && m.rollback()
	m.st.Stable = m.Update
	m.ro.Old, m.ro.KeepUntil = "", nil
	if before != "" && before != m.Update {
		if rollback {
			m.outcome(before, v1alpha1.RolledBack)
		} else {
			m.outcome(before, v1alpha1.Superseded)
		}
		until := metav1.NewTime(m.Now.Add(window(m.Spec.Strategy)))
		m.ro.Old, m.ro.KeepUntil = before, &until
	}
	m.idle()
}

// old keeps the former stable revision for as long as the strategy wants.
func (m *machine) old() {
	old := m.ro.Old
	if old == "" || old == m.st.Stable || old == m.st.Update {
		m.ro.Old, m.ro.KeepUntil = "", nil
		return
	}
	if m.plan.Weights[old] > 0 || m.Weights[old] > 0 { // it may be needed for longer
		until := metav1.NewTime(m.Now.Add(max(tickEvery, drain(m.Spec.Strategy))))
		if m.ro.KeepUntil == nil || m.ro.KeepUntil.Before(&until) {
			m.ro.KeepUntil = &until
		}
	}
	if m.ro.KeepUntil == nil || !m.Now.Before(m.ro.KeepUntil.Time) {
		m.ro.Old, m.ro.KeepUntil = "", nil
		return
	}
	if r, ok := m.Revisions[old]; ok && r.Desired > 0 {
		m.plan.Replicas[old] = r.Desired
	}
	m.after(m.ro.KeepUntil.Sub(m.Now))
}
