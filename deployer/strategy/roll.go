package strategy

import (
	"fmt"
	"maps"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// tickEvery is the interval at which a state that waits for the cluster is checked
// again, in case a notification is missed.
const tickEvery = time.Second

func (m *machine) tick() { m.after(tickEvery) }

func (m *machine) after(d time.Duration) {
	if d = max(d, 50*time.Millisecond); m.plan.After == 0 || d < m.plan.After {
		m.plan.After = d
	}
}

// roll continues the rollout from its present step.
func (m *machine) roll() {
	all := steps(m.Spec.Strategy, m.Stable, m.Spec.Template.Samples > 0)
	back := m.rollback()
	if back {
		all = []step{{weight: 100, full: true}}
	}
	skip := back || m.Spec.Promote == m.Update
	if skip {
		m.ro.Step = int32(len(all) - 1)
	}
	if m.ro.Step >= int32(len(all)) {
		m.ro.Step = int32(len(all) - 1)
	}
	m.pausing()
	at := all[m.ro.Step]
	u := m.Revisions[m.Update]
	need := m.need(at)
	m.plan.Replicas[m.Update], m.plan.Replicas[m.st.Stable] = need, m.Stable
	before := m.ro.Weight
	if u.Endpoints < need {
		m.route(m.bounded(min(before, at.weight)))
		m.shrink()
		m.waiting(StateScaling, fmt.Sprintf("%s: %d of %d pods are ready%s", m.where(all), u.Endpoints, need, because(u.Problem)))
		return
	}
	want := m.bounded(at.weight)
	if m.Spec.Paused {
		want = min(want, max(before, m.bounded(0)))
	}
	m.route(want)
	m.shrink()
	if !m.settled() {
		return
	}
	m.judge(all, at, skip)
}

// judge decides what follows a step whose pods are ready and whose weight is routed:
// its gates, its hold, its pause, or the next step.
func (m *machine) judge(all []step, at step, skip bool) {
	held := m.sinceHeld()
	gated := at.gates && !skip
	if m.GateStep != m.ro.Step {
		m.Gate, m.GateSays = NotRun, ""
	}
	m.plan.Gates = gated
	where := m.where(all)
	switch {
	case gated && m.Gate == Fail:
		m.fail("a gate failed at " + where + ": " + m.GateSays)
	case m.Spec.Paused:
		m.say(StatePaused, v1alpha1.Paused, "%s: paused%s", where, because(m.Spec.Reason))
		m.after(5 * time.Second)
	case gated && (m.Gate == Broken || m.Gate == NotRun):
		text := where + ": no figures for the gates" + because(m.GateSays)
		if m.Gate == NotRun && strings.HasPrefix(m.Status.Message, text) {
			text = m.Status.Message // it says why there were none the last time
		}
		m.waiting(StateGating, text)
	case held < at.hold && !skip:
		m.say(StateGating, m.phase(), "%s: holding for %s more", where, (at.hold - held).Round(time.Second))
		m.after(min(at.hold-held, 5*time.Second))
	case gated && m.Gate == CannotTell && !m.resumed():
		m.say(StatePaused, v1alpha1.Paused, "%s: a gate cannot tell: %s; `deploy resume` goes past it", where, m.GateSays)
		m.after(5 * time.Second)
	case gated && m.Gate == Inconclusive && !at.optional && !m.proceeds():
		m.say(StatePaused, v1alpha1.Paused, "%s: too few samples: %s", where, m.GateSays)
		m.after(5 * time.Second)
	case at.pause && !skip && !m.resumed():
		m.say(StatePaused, v1alpha1.Paused, "%s: waits for `deploy resume`", where)
		m.after(30 * time.Second)
	case int(m.ro.Step) == len(all)-1:
		m.promote()
	default:
		m.ro.Step++
		m.ro.HeldSince = nil
		m.since()
		m.roll()
	}
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
	return text
}

func (m *machine) phase() string {
	if m.rollback() {
		return v1alpha1.RollingBack
	}
	return v1alpha1.Deploying
}

// waiting enters a state that has a deadline.
func (m *machine) waiting(state, message string) {
	if m.Spec.Paused {
		m.say(state, v1alpha1.Paused, "%s; paused", message)
		m.after(5 * time.Second)
		return
	}
	if m.overdue(state) {
		m.fail(fmt.Sprintf("deadline of %s exceeded in state %s: %s", deadline(m.Spec.Strategy), state, message))
		return
	}
	m.say(state, m.phase(), "%s", message)
	m.tick()
}

// overdue reports whether a state has exceeded its deadline. Time in which the
// rollout was paused does not count.
func (m *machine) overdue(state string) bool {
	if m.ro.Since == nil || m.Spec.Paused || m.ro.State != state {
		return false
	}
	took := m.Now.Sub(m.ro.Since.Time) - m.ro.PausedFor.Duration
	return took > deadline(m.Spec.Strategy)
}

// pausing adds up the time for which a state was paused.
func (m *machine) pausing() {
	switch {
	case m.Spec.Paused && m.ro.PausedSince == nil:
		now := metav1.NewTime(m.Now)
		m.ro.PausedSince = &now
	case !m.Spec.Paused && m.ro.PausedSince != nil:
		m.ro.PausedFor.Duration += m.Now.Sub(m.ro.PausedSince.Time)
		m.ro.PausedSince = nil
	}
}

// settled reports whether the route has the planned weights, the gateway has
// accepted them, and requests follow them.
func (m *machine) settled() bool {
	want := m.plan.Weights[m.Update]
	switch {
	case len(m.plan.Weights) == 0: // there are no pods, and none are wanted
		return true
	case !maps.Equal(m.Weights, m.plan.Weights):
		m.waiting(StateShifting, fmt.Sprintf("setting the weight to %d %%", want))
	case !m.Acked:
		m.waiting(StateShifting, fmt.Sprintf("the gateway has not taken the weight of %d %% yet", want))
	case m.Observed == Differs:
		m.waiting(StateVerifying, fmt.Sprintf("requests do not follow the weight of %d %%", want))
	default:
		return true
	}
	return false
}

// fail aborts the rollout because of an error.
func (m *machine) fail(reason string) {
	m.giveUp(reason)
	m.plan.Gates = false
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
		until := metav1.NewTime(m.Now.Add(drain(m.Spec.Strategy)))
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
