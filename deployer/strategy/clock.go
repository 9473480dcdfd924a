package strategy

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

const (
	// tickEvery is the interval at which a state that waits for the cluster is checked
	// again, in case a notification is missed.
	tickEvery = time.Second
	// longestTick is the longest interval between evaluations while time counts.
	longestTick = 5 * time.Second
	// longestGap is how much of the time between two evaluations counts. More means
	// that the controller, the API server or the clock stood still: nobody knows what
	// happened meanwhile.
	longestGap = 15 * time.Second
	// beat is how often times are written to the status.
	beat = 5 * time.Second
)

func (m *machine) tick() { m.after(tickEvery) }

func (m *machine) after(d time.Duration) {
	if d = max(d, 50*time.Millisecond); m.plan.After == 0 || d < m.plan.After {
		m.plan.After = d
	}
}

// times are durations of the present step, and of the rollout.
type times struct {
	held   time.Duration // the weight has been in force, or pods have drained
	served time.Duration // since the rollout began
	waited time.Duration // without progress
	alone  time.Duration // no other revision has been able to answer
}

// count adds the time since the last evaluation to what the rollout was doing then.
// A clock that jumps neither ends a hold nor exceeds a deadline. Pauses count for
// nothing.
func (m *machine) count() {
	ro := &m.Status.Rollout
	m.times = times{held: ro.Held.Duration, served: ro.Served.Duration, waited: ro.Waited.Duration}
	if ro.Alone != nil {
		m.times.alone = ro.Alone.Duration
	}
	if ro.Seen == nil {
		m.fresh = true
		return
	}
	m.passed = m.Now.Sub(ro.Seen.Time)
	if m.Status.Phase == v1alpha1.Paused {
		return
	}
	d := max(0, min(m.passed, longestGap))
	switch ro.State {
	case StateIdle, StateBlocked:
		return
	case StateGating:
		m.times.held += d
		m.times.waited = max(0, m.times.waited-d)
	case StateDraining:
		m.times.held += d
	case StateScaling, StateShifting, StateMeasuring:
		m.times.waited += d
	}
	m.times.served += d
	if ro.Alone != nil {
		m.times.alone += d
	}
}

// restart begins the times of a step.
func (m *machine) restart() {
	m.times.held, m.times.waited, m.ro.Best = 0, 0, 0
	m.ro.Rows = nil
	m.fresh = true
}

// write puts the times into the status: when the state has changed, and now and then.
// Otherwise the status stays as it was, because a write causes another evaluation.
func (m *machine) write() {
	before := &m.Status.Rollout
	changed := m.fresh || m.ro.State != before.State || m.st.Phase != m.Status.Phase
	if m.ro.State != before.State || m.ro.Since == nil {
		now := metav1.NewTime(m.Now)
		m.ro.Since = &now
	}
	if !changed && m.passed >= 0 && m.passed < beat {
		return
	}
	if !changed && (m.ro.State == StateIdle || m.ro.State == StateBlocked || m.st.Phase == v1alpha1.Paused) {
		return // nothing counts
	}
	now := metav1.NewMicroTime(m.Now)
	m.ro.Seen = &now
	m.ro.Held, m.ro.Served, m.ro.Waited = metav1.Duration{Duration: m.times.held}, metav1.Duration{Duration: m.times.served}, metav1.Duration{Duration: m.times.waited}
	if m.ro.Alone != nil {
		m.ro.Alone = &metav1.Duration{Duration: m.times.alone}
	}
}

// deserted sees whether another revision can answer. How long none can counts from when
// that was first seen.
func (m *machine) deserted() {
	if m.st.Stable == "" || m.st.Update == m.st.Stable || m.ro.Aborted != "" || m.ro.Begun == nil {
		return
	}
	switch alone := m.nobodyElse(); {
	case alone == (m.ro.Alone != nil):
	case alone:
		m.ro.Alone, m.times.alone = &metav1.Duration{}, 0
		m.fresh = true
	default:
		m.ro.Alone, m.times.alone = nil, 0
		m.fresh = true
	}
}

// rows returns how many rows the new revision has scored at its step, if the step waits
// for some. The status keeps the number, because a controller that was restarted counts
// from its start. It is written when a hundredth of the rows that are needed has come.
func (m *machine) rows(need int64) int64 {
	kept := m.ro.Rows
	if need == 0 {
		return 0
	}
	now := v1alpha1.StepRows{From: metav1.NewMicroTime(m.RowsFrom), Counted: m.StepRows}
	before := int64(-1)
	if kept != nil {
		before = kept.Before + kept.Counted
		now.Before = before
		if kept.From.Time.Equal(m.RowsFrom) { // the same controller goes on
			now.Before = kept.Before
		}
	}
	if m.RowsFrom.IsZero() || m.GateStep != m.ro.Step { // nobody has counted
		return max(0, before)
	}
	part := rowsPart(need)
	sum := now.Before + now.Counted
	if kept == nil || !kept.From.Time.Equal(m.RowsFrom) || (before < need && sum/part != before/part) {
		m.ro.Rows = &now
	}
	return sum
}

// rowsPart is the number of rows that is worth a write of the status, because each one
// causes another evaluation.
func rowsPart(need int64) int64 { return max(1, need/100) }

// crashed counts crashes of the new revision's hosts since the revision first had all
// pods of a step. It returns why there are too many, or "". Each crash that a gate
// watches begins the hold anew.
func (m *machine) crashed() string {
	c, u, s := m.ro.Crashes, m.Revisions[m.Update], m.Spec.Strategy
	if c == nil {
		return ""
	}
	watched := false
	for pod, n := range u.Crashes {
		before := c.Pods[pod]
		if n <= before {
			continue
		}
		c.Total += n - before
		if c.Pods == nil {
			c.Pods = map[string]int32{}
		}
		c.Pods[pod] = n
		if u.OOMKilled[pod] { // a pod says only how its host ended last
			c.OOMKilled++
		}
		watched = watched || watches(s, gateRestarts) || (u.OOMKilled[pod] && watches(s, gateOOMKills))
		m.fresh = true
	}
	if watched {
		c.Served = metav1.Duration{Duration: m.times.served}
		m.times.held = 0
	}
	switch {
	case watches(s, gateOOMKills) && c.OOMKilled > oomKills(s):
		limit := "there is no memory limit"
		if q, ok := m.Spec.Template.Resources.Limits[corev1.ResourceMemory]; ok {
			limit = "memory limit " + q.String()
		}
		return fmt.Sprintf("hosts were OOMKilled %d times; %s", c.OOMKilled, limit)
	case watches(s, gateRestarts) && c.Total > restarts(s):
		return fmt.Sprintf("hosts ended with an error and were started again, %d times in all%s", c.Total, because(u.Problem))
	}
	return ""
}

// expose begins to count crashes.
func (m *machine) expose() {
	if m.ro.Crashes != nil {
		return
	}
	m.ro.Crashes = &v1alpha1.Crashes{}
	for pod, n := range m.Revisions[m.Update].Crashes {
		if m.ro.Crashes.Pods == nil {
			m.ro.Crashes.Pods = map[string]int32{}
		}
		m.ro.Crashes.Pods[pod] = n
	}
}

// hold returns how long a step is held. After a crash that is long enough to see the
// next one, if hosts crash again and again.
func (m *machine) hold(at step) time.Duration {
	c, s := m.ro.Crashes, m.Spec.Strategy
	if c != nil && ((c.Total > 0 && watches(s, gateRestarts)) || (c.OOMKilled > 0 && watches(s, gateOOMKills))) {
		return max(at.hold, 2*c.Served.Duration)
	}
	return at.hold
}
