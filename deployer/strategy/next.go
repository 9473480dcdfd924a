package strategy

import (
	"cmp"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// machine is one evaluation of Next.
type machine struct {
	World
	plan Plan
	st   *v1alpha1.ModelDeploymentStatus
	ro   *v1alpha1.Rollout
}

// Next makes a plan from observations. Next is idempotent: applied to its own status
// at the same time, it returns the same plan.
func Next(w World) Plan {
	m := &machine{World: w, plan: Plan{Status: *w.Status.DeepCopy(), Replicas: map[string]int32{}, Outcomes: map[string]string{}}}
	m.st, m.ro = &m.plan.Status, &m.plan.Status.Rollout
	m.begin()
	if m.Blocked == "" && m.st.Update != m.st.Stable {
		m.ro.Admitted = w.Admission
	}
	switch {
	case m.st.Stable == "":
		m.first()
	case m.st.Update == m.st.Stable:
		m.idle()
	case m.given():
		m.recover()
	case w.Blocked != "":
		m.block()
	default:
		m.roll()
	}
	m.old()
	m.ro.Weight = m.plan.Weights[m.st.Update]
	if m.ro.State != w.Status.Rollout.State || m.ro.Since == nil {
		m.since()
	}
	return m.plan
}

// since records that a state has begun.
func (m *machine) since() {
	now := metav1.NewTime(m.Now)
	m.ro.Since, m.ro.PausedFor, m.ro.PausedSince = &now, metav1.Duration{}, nil
	if m.Spec.Paused {
		m.ro.PausedSince = &now
	}
}

// begin starts a rollout, or another one, after the requested revision has changed.
func (m *machine) begin() {
	if m.st.Update == m.Update {
		return
	}
	before := m.st.Update
	if before != "" && before != m.st.Stable && m.ro.Aborted != before {
		m.outcome(before, v1alpha1.Superseded)
	}
	old, keep := m.ro.Old, m.ro.KeepUntil
	had := m.Weights[before] > 0 || m.ro.Aborted == before
	if before != "" && before != m.st.Stable && m.Revisions[before].Desired > 0 && had { // it still has requests
		until := metav1.NewTime(m.Now.Add(drain(m.Spec.Strategy)))
		if old != m.Update {
			old, keep = before, &until
		}
	}
	m.st.Update = m.Update
	m.st.Verdicts = nil
	m.GateStep = -1 // the gates judged another revision
	*m.ro = v1alpha1.Rollout{Old: old, KeepUntil: keep}
	m.since()
}

func (m *machine) outcome(revision, phase string) { m.plan.Outcomes[revision] = phase }

func (m *machine) say(state, phase, format string, args ...any) {
	m.ro.State, m.st.Phase, m.st.Message = state, phase, fmt.Sprintf(format, args...)
	switch {
	case m.st.Update == "":
	case phase != v1alpha1.RollingBack:
		m.outcome(m.st.Update, phase)
	case m.rollback(): // the stable revision is rolled back
		m.outcome(m.st.Update, v1alpha1.Deploying)
		m.outcome(m.st.Stable, v1alpha1.RollingBack)
	}
}

// first brings up the first revision of a deployment, without steps.
func (m *machine) first() {
	if m.Blocked != "" {
		m.block()
		return
	}
	u := m.Revisions[m.Update]
	if m.Spec.Abort == m.Update || m.ro.Aborted == m.Update {
		m.ro.Aborted, m.ro.AbortReason = m.Update, "aborted: "+cmp.Or(m.Spec.Reason, "no reason was given")
		m.say(StateIdle, v1alpha1.RolledBack, "%s; nothing served before", m.ro.AbortReason)
		return
	}
	m.plan.Replicas[m.Update] = m.Stable
	if u.Endpoints > 0 {
		m.plan.Weights = map[string]int32{m.Update: 100}
	}
	if u.Endpoints < m.Stable {
		if m.overdue(StateScaling) {
			m.say(StateScaling, v1alpha1.Failed, "%d of %d pods are ready after %s%s", u.Endpoints, m.Stable, deadline(m.Spec.Strategy), because(u.Problem))
			m.tick() // they may still get ready
			return
		}
		m.say(StateScaling, v1alpha1.Deploying, "%d of %d pods are ready%s", u.Endpoints, m.Stable, because(u.Problem))
		m.tick()
		return
	}
	if m.settled() {
		m.promote()
	}
}

// idle plans the stable revision without a rollout.
func (m *machine) idle() {
	s := m.Revisions[m.st.Stable]
	m.plan.Replicas[m.st.Stable] = m.Stable
	m.route(0)
	m.ro.Aborted, m.ro.AbortReason, m.ro.HeldSince, m.ro.Step = "", "", nil, 0
	message := fmt.Sprintf("%d of %d pods are ready", s.Endpoints, m.Stable)
	m.say(StateIdle, v1alpha1.Deployed, "%s%s", message, because(s.Problem))
	if s.Endpoints < m.Stable {
		m.after(5 * time.Second)
	}
}

// block waits for what must happen before the rollout.
func (m *machine) block() {
	if m.st.Stable != "" {
		m.plan.Replicas[m.st.Stable] = m.Stable
		m.route(0)
	}
	m.say(StateBlocked, v1alpha1.Pending, "%s", m.Blocked)
	m.after(10 * time.Second)
}

// given reports whether the new revision was aborted. It stays aborted until the
// request changes.
func (m *machine) given() bool {
	if m.ro.Aborted == m.Update {
		return true
	}
	if m.Spec.Abort == m.Update {
		m.giveUp("aborted: " + cmp.Or(m.Spec.Reason, "no reason was given"))
		m.outcome(m.Update, v1alpha1.RollingBack)
		return true
	}
	return false
}

func (m *machine) giveUp(reason string) {
	m.ro.Aborted, m.ro.AbortReason, m.ro.HeldSince = m.Update, reason, nil
	m.ro.State = StateRecovering
	m.since()
}

// rollback reports whether the rollout goes back to an earlier revision.
func (m *machine) rollback() bool { return m.st.Stable != "" && m.Spec.RollbackOf == m.st.Stable }

// recover moves the traffic of an aborted revision to the stable one, as fast as its
// pods allow, and then removes the aborted revision's pods.
func (m *machine) recover() {
	s, u := m.Revisions[m.st.Stable], m.Revisions[m.Update]
	m.plan.Replicas[m.st.Stable] = m.Stable
	m.route(m.bounded(0))
	final := v1alpha1.RolledBack
	if m.Spec.Abort != m.Update {
		final = v1alpha1.Failed
	}
	switch {
	case m.plan.Weights[m.Update] > 0:
		m.keep(m.Update, u)
		m.say(StateRecovering, v1alpha1.RollingBack, "%s; the stable revision has %d of %d pods", m.ro.AbortReason, s.Endpoints, m.Stable)
		m.tick()
	case m.Weights[m.Update] != 0 || (u.Desired > 0 && !m.Acked):
		m.keep(m.Update, u)
		m.say(StateRecovering, v1alpha1.RollingBack, "%s; waiting for the gateway to take the traffic away", m.ro.AbortReason)
		m.tick()
	case u.Desired > 0 && m.sinceHeld() < drain(m.Spec.Strategy):
		m.keep(m.Update, u)
		m.say(StateDraining, v1alpha1.RollingBack, "%s; its last requests are running", m.ro.AbortReason)
		m.after(drain(m.Spec.Strategy) - m.sinceHeld())
	case u.Desired > 0 || u.Pods > 0:
		m.say(StateDraining, v1alpha1.RollingBack, "%s; its pods are being removed", m.ro.AbortReason)
		m.tick()
	default:
		m.say(StateIdle, final, "%s", m.ro.AbortReason)
	}
	if m.st.Phase == v1alpha1.RollingBack {
		m.outcome(m.Update, v1alpha1.RollingBack)
	}
	if m.rollback() { // the revision that was to be rolled back keeps serving
		m.outcome(m.st.Stable, v1alpha1.Deployed)
	}
}

// keep plans the existing pods of a revision.
func (m *machine) keep(revision string, r Revision) {
	if r.Desired > 0 {
		m.plan.Replicas[revision] = r.Desired
	}
}

// sinceHeld returns how long the present weight has held. The first call starts the
// count.
func (m *machine) sinceHeld() time.Duration {
	if m.ro.HeldSince == nil {
		now := metav1.NewMicroTime(m.Now)
		m.ro.HeldSince = &now
	}
	return m.Now.Sub(m.ro.HeldSince.Time)
}

// bounded returns the weight nearest to want that the existing pods can serve.
func (m *machine) bounded(want int32) int32 {
	s, u := m.Revisions[m.st.Stable], m.Revisions[m.Update]
	if u.Endpoints == 0 {
		return 0
	}
	if need := replicasFor(want, m.Stable, m.beside()); want > 0 && u.Endpoints < need {
		want = want * u.Endpoints / need
	}
	if m.Stable > 0 && s.Endpoints < m.Stable { // the new revision serves what the stable one cannot
		want = max(want, 100-able(s.Endpoints, m.Stable))
	}
	return min(want, 100)
}

// route plans the weights. The new revision has update. The former revision serves
// what the stable one has too few pods for. The stable revision has the rest.
func (m *machine) route(update int32) {
	w := map[string]int32{}
	if m.Update != m.st.Stable {
		w[m.Update] = update
	}
	s, old := m.Revisions[m.st.Stable], m.Revisions[m.ro.Old]
	left := 100 - w[m.Update]
	if able := able(s.Endpoints, m.Stable); m.Stable > 0 && able < left && old.Endpoints > 0 && m.ro.Old != m.Update && m.ro.Old != m.st.Stable {
		w[m.ro.Old] = left - able
		left = able
	}
	if m.Update == m.st.Stable {
		w[m.Update] = 0
	}
	w[m.st.Stable] += left
	for name, share := range w {
		if share == 0 {
			delete(w, name)
		}
	}
	m.plan.Weights = w
}

// able returns the share of the traffic, in percent, that some of all pods can
// serve, rounded up.
func able(pods, all int32) int32 {
	all = max(1, all)
	return min(100, (100*pods+all-1)/all)
}

func because(problem string) string {
	if problem == "" {
		return ""
	}
	return ": " + problem
}
