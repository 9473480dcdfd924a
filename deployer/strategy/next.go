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
	plan   Plan
	st     *v1alpha1.ModelDeploymentStatus
	ro     *v1alpha1.Rollout
	times  times
	passed time.Duration // since times were last written
	fresh  bool          // times must be written
	serves bool          // the revision serves and there is none to go back to
}

// Next makes a plan from observations. Next is idempotent: applied to its own status
// at the same time, it returns the same plan.
func Next(w World) Plan {
	m := &machine{World: w, plan: Plan{Status: *w.Status.DeepCopy(), Replicas: map[string]int32{}, Outcomes: map[string]string{}}}
	m.st, m.ro = &m.plan.Status, &m.plan.Status.Rollout
	m.count()
	m.begin()
	m.admit()
	switch {
	case m.st.Update == m.st.Stable:
		m.idle()
	case m.given():
		m.recover()
	case m.ro.Begun == nil:
		m.block()
	case m.st.Stable == "":
		m.first()
	default:
		m.roll()
	}
	m.old()
	m.deserted()
	m.ro.Weight = m.plan.Weights[m.st.Update]
	m.pods()
	m.write()
	return m.plan
}

// pods records how many pods there are, for people.
func (m *machine) pods() {
	of := func(revision string) *v1alpha1.PodCount {
		n, planned := m.plan.Replicas[revision]
		if !planned || revision == "" {
			return nil
		}
		return &v1alpha1.PodCount{Ready: m.endpoints(revision), Wanted: n}
	}
	m.st.Serving, m.st.Arriving = of(m.st.Stable), nil
	if m.st.Update != m.st.Stable {
		m.st.Arriving = of(m.st.Update)
	}
}

// begin starts a rollout, or another one, after the requested revision has changed
// or was requested again.
func (m *machine) begin() {
	before := m.st.Update
	if before == m.Update {
		if m.ro.Attempt == m.Spec.Attempt {
			return
		}
		if m.ro.Aborted != m.Update { // there is nothing to try again
			m.ro.Attempt = m.Spec.Attempt
			return
		}
		if m.ro.State != StateIdle { // first the last attempt ends
			m.tick()
			return
		}
	} else {
		m.replaced(before)
	}
	old, keep := m.ro.Old, m.ro.KeepUntil
	had := m.Weights[before] > 0 || m.ro.Aborted == before
	if before != "" && before != m.Update && before != m.st.Stable && m.Revisions[before].Desired > 0 && had { // it still has requests
		until := metav1.NewTime(m.Now.Add(drain(m.Spec.Strategy)))
		old, keep = before, &until
	}
	m.st.Update = m.Update
	m.st.Verdicts = nil
	m.GateStep = -1 // the gates judged another revision
	*m.ro = v1alpha1.Rollout{Old: old, KeepUntil: keep, Attempt: m.Spec.Attempt, Weight: m.Weights[m.Update]}
	m.times = times{}
	m.restart()
}

// replaced records how a rollout ends that another one replaces. One that was given up
// keeps its end, although its pods are still there, and what was to be rolled back serves.
func (m *machine) replaced(before string) {
	if before == "" || before == m.st.Stable {
		return
	}
	end := v1alpha1.Superseded
	if m.ro.Aborted == before {
		end = m.end()
	}
	m.outcome(before, end)
	if m.st.Stable != "" {
		m.outcome(m.st.Stable, v1alpha1.Deployed)
	}
}

// admit lets a rollout begin. Afterwards neither an approval nor the environment
// before stops it.
func (m *machine) admit() {
	if m.st.Update == m.st.Stable {
		return
	}
	if m.ro.Begun == nil && m.ro.Admitted != nil && m.ro.State != StateBlocked { // begun by an earlier version
		m.ro.Begun = m.ro.Since
	}
	if m.Blocked != "" {
		return
	}
	m.ro.Admitted = m.Admission
	if m.ro.Begun == nil {
		now := metav1.NewTime(m.Now)
		m.ro.Begun = &now
	}
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
	u := m.Revisions[m.Update]
	m.plan.Replicas[m.Update] = m.Stable
	if u.Endpoints > 0 {
		m.plan.Weights = map[string]int32{m.Update: 100}
	}
	m.serves = u.Endpoints > 0
	m.progress(u.Endpoints)
	switch {
	case u.Endpoints < m.Stable:
		m.waiting(StateScaling, fmt.Sprintf("%d of %d pods are ready%s", u.Endpoints, m.Stable, because(u.Problem)))
	case m.settled():
		m.promote()
	}
}

// idle plans the stable revision without a rollout.
func (m *machine) idle() {
	s := m.Revisions[m.st.Stable]
	m.plan.Replicas[m.st.Stable] = m.Stable
	m.plan.Weights = map[string]int32{}
	m.spread(100, m.established())
	m.ro.Aborted, m.ro.AbortReason, m.ro.End, m.ro.Step, m.ro.Crashes, m.ro.Gateway = "", "", "", 0, nil, nil
	m.ro.Alone, m.ro.Rows = nil, nil
	m.times = times{}
	message := fmt.Sprintf("%d of %d pods are ready", s.Endpoints, m.Stable)
	if s.Endpoints < m.Stable {
		message += because(s.Problem)
		m.after(5 * time.Second)
	}
	m.say(StateIdle, v1alpha1.Deployed, "%s", message)
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

// given reports whether the new revision was aborted. It stays aborted until another
// one is requested, or another attempt.
func (m *machine) given() bool {
	if m.ro.Aborted == m.Update {
		return true
	}
	if m.Spec.Abort == m.Update {
		m.giveUp(v1alpha1.RolledBack, "aborted: "+cmp.Or(m.Spec.Reason, "no reason was given"))
		m.outcome(m.Update, v1alpha1.RollingBack)
		return true
	}
	return false
}

func (m *machine) giveUp(end, reason string) {
	m.ro.Aborted, m.ro.AbortReason, m.ro.End = m.Update, reason, end
	m.ro.State, m.ro.Alone = StateRecovering, nil
	m.restart()
}

// rollback reports whether the rollout goes back to an earlier revision.
func (m *machine) rollback() bool { return m.st.Stable != "" && m.Spec.RollbackOf == m.st.Stable }

// recover moves the traffic of an aborted revision to the stable one, as fast as its
// pods allow, and then removes the aborted revision's pods.
func (m *machine) recover() {
	s, u := m.Revisions[m.st.Stable], m.Revisions[m.Update]
	final := m.end()
	over := m.Status.Rollout.State == StateIdle && m.Status.Rollout.Aborted == m.Update
	if m.st.Stable != "" {
		m.plan.Replicas[m.st.Stable] = m.Stable
		if over || u.Desired == 0 {
			m.route(0)
		} else {
			m.back()
		}
	}
	switch {
	case over, m.st.Stable == "" && u.Desired == 0 && u.Pods == 0:
		m.say(StateIdle, final, "%s%s", m.ro.AbortReason, m.unserved())
	case m.st.Stable == "":
		m.say(StateDraining, v1alpha1.RollingBack, "%s; its pods are being removed", m.ro.AbortReason)
		m.tick()
	case m.plan.Weights[m.Update] > 0:
		m.keep(m.Update, u)
		m.times.held = 0
		m.say(StateRecovering, v1alpha1.RollingBack, "%s; the stable revision has %d of %d pods", m.ro.AbortReason, s.Endpoints, m.Stable)
		m.tick()
	case m.Weights[m.Update] != 0 || (u.Desired > 0 && !m.Acked):
		m.keep(m.Update, u)
		m.times.held = 0
		m.say(StateRecovering, v1alpha1.RollingBack, "%s; waiting for the gateway to take the traffic away", m.ro.AbortReason)
		m.tick()
	case u.Desired > 0 && m.times.held < drain(m.Spec.Strategy):
		m.keep(m.Update, u)
		m.say(StateDraining, v1alpha1.RollingBack, "%s; its last requests are running", m.ro.AbortReason)
		m.after(min(drain(m.Spec.Strategy)-m.times.held, longestTick))
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

// end returns the phase in which an aborted rollout ends.
func (m *machine) end() string {
	if m.ro.End == "" { // aborted by an earlier version
		m.ro.End = v1alpha1.Failed
		if m.Spec.Abort == m.Update {
			m.ro.End = v1alpha1.RolledBack
		}
	}
	return m.ro.End
}

func (m *machine) unserved() string {
	if m.st.Stable == "" {
		return "; nothing served before"
	}
	return ""
}

// keep plans the existing pods of a revision.
func (m *machine) keep(revision string, r Revision) {
	if r.Desired > 0 {
		m.plan.Replicas[revision] = r.Desired
	}
}

func because(problem string) string {
	if problem == "" {
		return ""
	}
	return ": " + problem
}
